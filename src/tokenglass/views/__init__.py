"""Views draw results; `rows` decides what there is to draw, the others only how."""
