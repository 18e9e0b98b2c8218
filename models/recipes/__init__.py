"""Recipes: five things to do with an edit, each with a photo, a hole and lines that show how it is drawn."""
