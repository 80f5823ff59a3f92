"""Axis letters and array aliases shared by the whole of `model/`.

Axes:
    b  batch, one independent window of steps per entry
    t  time, one control step per entry
    n  channels of the observation state
    a  channels of the action
    h  rows of a camera frame
    w  columns of a camera frame
    u  log-mel channels of the sound of one step
    k  tasks, in the order of `robot.tasks` of a package
    d  width of the residual stream
    e  channels of one recurrence
    f  hidden channels of one particle mixer
    c  what the model carries from step to step: blocks times e, and one more
    l  levels of the skill memory
    m  slots of one level of the skill memory
    s  one surface as a flat vector

An ellipsis, or `*b`, stands for any number of leading axes. The aliases are
annotations for the reader; functions that take outside data check it themselves.
"""

from jax import Array as Array  # by its name here, and as `at.Array`
from jaxtyping import Bool, Float, Num

States = Float[Array, "*b n"]
"""Raw observation state, in the robot's own units."""
Frames = Num[Array, "*b h w 3"]
"""Camera frames, red, green and blue from 0 to 255; all zero where none was taken."""
Places = Float[Array, "*b p"]
LogMel = Float[Array, "*b u"]
"""Log power of the sound of a step; all zero where there was none."""
Actions = Float[Array, "*b a"]
"""Action in reaches or, outside of the model, in the robot's own units; not clamped."""
ActionScales = Float[Array, "*b a"]
"""Expected absolute error of each action channel, in the unit of the action."""
Values = Float[Array, "*b"]
"""Discounted mean of the rewards to come, between -1 and 1; see `losses.returns`."""
TaskOneHot = Float[Array, "*b k"]
"""One-hot choice of the task."""
Residual = Float[Array, "*b d"]
"""Residual stream between the blocks, no unit."""
Carry = Float[Array, "*b c"]
"""Recurrent state of the whole model."""
Recurrent = Float[Array, "*b e"]
"""Recurrent state of one wave mixer."""
Starts = Bool[Array, "*b"]
"""True at the first step of an episode."""
Surface = Float[Array, "s"]
"""One surface as a flat vector."""
