"""From a person's photo, sketch and mask to the edited photo."""
