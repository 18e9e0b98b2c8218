"""Sample faces: photographs of nobody that come with the package, and the aligned astronaut of scikit-image."""

from dpsdata.samples.sample_faces import (
    FACE_COUNT,
    crop_astronaut,
    read_sample_face,
    sample_face_file,
    write_sample_faces,
)

__all__ = ["FACE_COUNT", "crop_astronaut", "read_sample_face", "sample_face_file", "write_sample_faces"]
