"""A study: methods x mask families x kinds of sketches, the claims of the field tested with intervals."""
