"""Demo faces: the aligned astronaut crop and drawn portraits, free of anyone's licence."""

from dpsdata.portraits.sample_faces import crop_astronaut, draw_portrait, write_sample_faces

__all__ = ["crop_astronaut", "draw_portrait", "write_sample_faces"]
