"""What lies in a folder or zip of faces, and which split each photo belongs to."""
