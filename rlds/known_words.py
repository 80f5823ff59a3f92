"""The closed list of words of which a task and a name are made that leave a robot.

Free text says who lives where and what they need. What leaves is said in words of this
list, which names no person, place, time or illness, and in small numbers. Robots and
whatever judges their episodes are built from the same list; to say more, add to it.

A robot's operator may add a few words of their own, by name: they stand in the robot's
public record, so that whoever looks at its episodes knows them (`parse_own`).

A word may have s or es at its end, for more than one. A CamelCase name is as many words
as it has capitals, and digits behind a word are a number. A number has one or two
digits and a text at most three in all, which are enough for a version (3.1.1) and for a
dozen cubes in three boxes, and too few for a coordinate, a date or a telephone number.
"""

import re
from collections.abc import Set

from base.errors import MalformedError
from base.json_fields import Source

MAX_CHARACTERS = 256
MAX_OWN = 64
"""Words that a robot may have of its own: no dictionary, in which all could be said."""
NO_WORDS: Set[str] = frozenset()
_OWN = re.compile(r"[a-z]{1,24}")
_MAX_DIGITS_OF_NUMBER = 2
_MAX_DIGITS = 3

_MACHINES = """
    aloha alex ant arm atlas bench bimanual bot car cartpole cheetah crazyflie cube
    dexterous drone dual emika fetch fr3 franka gen3 gripper hexapod hopper humanoid
    iiwa jaco jetbot kinova koch kuka leader left lekiwi manipulator metaworld mobile
    moss panda pendulum point quadruped racer reachy replay robot robotiq rover rs
    sawyer scara shadow sim simulated simulation simulator snake so100 so101 so spot
    stretch swimmer tank test tiago tiny trossen turtlebot ur10 ur3 ur5 ur5e viper
    walker wheeled widowx xarm xarm6 xarm7 2d 3d 4dof 5dof 6dof 7dof 8dof dof
    mujoco pybullet isaac gazebo webots genesis maniskill robosuite libero calvin
    rlbench robocasa pusht gym gymnasium dm control suite adroit gymnasium ale ros
"""
_ENVIRONMENTS = """
    acrobot air blackjack bowling boxing breakout bipedal cart chain cliff continuous
    discrete double env environment freeway frozen half hero inverted lake lander lunar
    maze mountain pinball pole pong pusher qbert racing raid reacher river seaquest
    skiing space standup taxi tennis toy video walking benchmark blind drawn line bin
    hardcore slippery phys2d tabular walker2d camera
    kitchen desk table lab room indoor outdoor garage workshop office field floor hall
    corridor bench site world scene track
"""
_ACTIONS = """
    adjust align approach arrange assemble assembly attach avoid balance bend bring
    brush carry catch clean clear climb close collect combine connect cook cover cut
    dance demonstrate detach dial disassemble disconnect dock drag draw drive drop dry
    empty exchange explore extend fill find flip fly fold follow gather get give go
    grab grasp grip hand handover hang hit hold hover idle insert inspect invert jump
    keep kick knock land leave lift load lock look loosen lower make measure mix mount
    move nudge observe open pack park pass patrol peel pick picking place plug point
    polish pour press pull push put race raise reach release remove reorient replace
    return reverse roll rotate run scan scoop screw serve set shake shut sit slide
    solve sort spin split spray spread squeeze stack stand start stay steer stir stop
    store swap sweep swing switch take tap throw tidy tie tighten tilt toggle touch
    track transfer turn twist uncover unfold unlock unload unpack unplug unscrew
    unstack untie use wait walk wash water wave wipe wrap write
"""
_THINGS = """
    apple bag ball banana bar basket basketball battery beaker bean bin block board
    book bottle bowl box bread brick bucket bulb bulldozer bun button cabinet cable can
    candy cap card cardboard carrot carton case chain chair charger chess chip clamp
    cloth clothes coffee coin cone container cord corn counter crate cube cup cupboard
    cushion cutlery cylinder dice disc dish dishwasher dock domino door drawer drill
    duster egg eggplant eraser faucet flag foam fork fridge fruit frying fuse game
    gear glass glove glue goal grape hammer handle hinge hole hook hose jar jug kettle
    key keyboard knife knob ladle lamp laundry leaf lego lemon letter lever lid light
    litter machine magnet marker marble mat meat microwave milk mouse mug nail napkin
    needle net nut object onion orange oven package pad paint pan paper part peach pear
    peg pen pencil pepper pickle pin pipe plant plate plug plush pot potato powder puck
    puzzle rack rag rail ramp ring rod rope ruler salt sandwich sauce saucer scissors
    screw screwdriver shaft shape shelf shirt shoe sink slot soap soccer sock socket
    spatula sphere sponge spoon spring stairs stand stick stone stool stove strawberry
    string sugar surface sushi switch tabletop tap tape target tea tee thing tile tin
    tissue toast toaster tomato tool tooth torch towel tower toy trash tray triangle
    tube tub valve vase vegetable wall washer water weight wheel window wire wood
    workpiece wrench yarn zip zipper
"""
_QUALITIES = """
    big bigger biggest black blue bright brown cold cyan dark deep dirty dry empty flat
    fast full gentle gold gray green grey hard heavy high hot large larger largest long
    loose low magenta metal new old opposite other pink plastic purple quick red round
    rubber same sharp short silver slow small smaller smallest soft square steel
    straight tall thick thin tight tiny topdown transparent upright violet warm wet
    white wide wooden yellow
"""
_RELATIONS = """
    a about above across after again against ahead all along an and any are around as
    at away back backward backwards before behind below beneath beside between bottom
    both by center centre clockwise corner counterclockwise down each edge end every
    first for forward forwards four five from front half here horizontal horizontally
    in inside into is it its last leftmost level middle more my near nearest next no
    not of off on once one onto opposite or out outside over part pair past pile
    please position right rightmost round row second side six seven eight nine ten
    slightly slowly so some stack step ten that the their them then there these third
    this those three through till to together top toward towards twice two under
    underneath until up upside upward vertical vertically when where which while with
    within without your zero x y z
"""
_KINDS = """
    any baseline custom deep default demo dense easy example expert goal hard human
    image keypoints large level lite many medium mini mixed model multi ood own plus
    pro random rgb sparse stage state task trial user v vertical vision visual
"""

WORDS = frozenset(
    " ".join(
        (_MACHINES, _ENVIRONMENTS, _ACTIONS, _THINGS, _QUALITIES, _RELATIONS, _KINDS)
    ).split()
)

_SEPARATORS = re.compile(r"[\s._:/+,;!?()'\"-]+")
_PARTS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+|.")
_TIME_OF_DAY = re.compile(r"[0-9]:[0-9]")


def parse_own(value: object, source: Source) -> frozenset[str]:
    """Returns the words that a robot's operator adds to the list.

    Args:
        value: what should be a list of such words.
        source: what holds it, for errors.

    Raises:
        MalformedError: it is another value, a word is not 1 to 24 letters from a to z,
            or there are more than `MAX_OWN`; the error does not repeat a word.
    """
    if not isinstance(value, list) or len(value) > MAX_OWN:
        got = f"{len(value)}" if isinstance(value, list) else "another value"
        raise MalformedError(source, f"a list of at most {MAX_OWN} words", got)
    for place, word in enumerate(value, 1):
        if not isinstance(word, str) or not _OWN.fullmatch(word):
            raise MalformedError(
                source, "words of 1 to 24 letters from a to z", f"another, word {place}"
            )
    return frozenset(value)


def find_unknown(text: str, own: Set[str] = NO_WORDS) -> int | None:
    """Returns which word, counted from 1, is not on the list; None if all are.

    A text that is no line of words, or has more digits than a version, has none that
    is: the answer is 1.

    Args:
        text: what is looked at.
        own: words that the robot has of its own.
    """
    if len(text) > MAX_CHARACTERS or _TIME_OF_DAY.search(text):
        return 1
    tokens = [token for token in _SEPARATORS.split(text) if token]
    digits = 0
    for place, token in enumerate(tokens, 1):
        if _is_known(token, own):
            continue
        for part in _PARTS.findall(token):
            is_number = part.isascii() and part.isdigit()
            if is_number and len(part) <= _MAX_DIGITS_OF_NUMBER:
                digits += len(part)
            elif not _is_known(part, own):
                return place
    return None if tokens and digits <= _MAX_DIGITS else 1


def _is_known(token: str, own: Set[str]) -> bool:
    word = token.lower()
    forms = (word, word.removesuffix("s"), word.removesuffix("es"))
    return not own.isdisjoint(forms) or not WORDS.isdisjoint(forms)
