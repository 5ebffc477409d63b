"""Poses: turns of the body's bones, drawn at random for each kind of pose.

A turn is (axis, degrees) about the world's axes in the rest pose, in which the arms point down and outwards at about
45 degrees; of several turns, the last is applied first. L is the person's left, where x is positive.
"""

from random import Random

Turns = dict[str, list[tuple[str, float]]]

POSES = {"standing": 34, "walking": 16, "sitting": 16, "arms raised": 10, "hands on hips": 9, "arms in front": 15}


def turns(pose: str, rnd: Random) -> Turns:
    """Turns of the bones for a kind of pose."""
    result: Turns = {
        "spine03": [("y", rnd.uniform(-12, 12)), ("z", rnd.uniform(-4, 4)), ("x", rnd.uniform(-4, 6))],
        "neck01": [("y", rnd.uniform(-28, 28)), ("x", rnd.uniform(-10, 14)), ("z", rnd.uniform(-7, 7))],
    }
    stride = rnd.uniform(14, 30) * rnd.choice([-1, 1]) if pose == "walking" else rnd.uniform(-6, 6)
    down = rnd.uniform(30, 41)
    lift, bend, apart = rnd.uniform(72, 88), rnd.uniform(68, 95), rnd.uniform(-2, 5)
    raised = rnd.choice([("L",), ("R",), ("L", "R")])
    for side, sign in (("L", 1), ("R", -1)):
        hang = down + rnd.uniform(-6, 6)
        upper, lower = [("x", rnd.uniform(-16, 14)), ("z", -sign * hang)], [("x", -rnd.uniform(0, 30))]
        if pose == "walking":
            upper[0] = ("x", sign * stride * rnd.uniform(0.5, 1.0))
        if pose == "arms raised" and side in raised:
            upper = [("z", sign * rnd.uniform(15, 110)), ("x", -rnd.uniform(0, 35))]
            lower = [("z", sign * rnd.uniform(0, 70)), ("x", -rnd.uniform(0, 40))]
        if pose == "hands on hips":
            upper = [("z", -sign * rnd.uniform(-5, 12)), ("x", rnd.uniform(5, 25))]
            lower = [("z", -sign * rnd.uniform(75, 100)), ("x", -rnd.uniform(0, 15))]
        if pose == "arms in front":
            upper = [("x", -rnd.uniform(0, 35)), ("z", -sign * rnd.uniform(28, 40))]
            lower = [("y", -sign * rnd.uniform(0, 50)), ("x", -rnd.uniform(50, 125))]
        if pose == "sitting":
            upper = [("x", -rnd.uniform(5, 35)), ("z", -sign * rnd.uniform(30, 40))]
            lower = [("y", -sign * rnd.uniform(0, 30)), ("x", -rnd.uniform(20, 75))]
            result[f"upperleg01.{side}"] = [("y", sign * apart), ("x", -lift - rnd.uniform(-3, 3))]
            result[f"lowerleg01.{side}"] = [("x", bend + rnd.uniform(-8, 8))]
        else:
            result[f"upperleg01.{side}"] = [("z", sign * rnd.uniform(-5, 1)), ("x", -sign * stride)]
            back = -sign * stride < 0
            result[f"lowerleg01.{side}"] = [("x", rnd.uniform(10, 30) if back and pose == "walking" else 3)]
        result[f"upperarm01.{side}"], result[f"lowerarm01.{side}"] = upper, lower
        for finger in range(2, 6):
            result[f"finger{finger}-1.{side}"] = [("z", -sign * rnd.uniform(0, 25))]
    return result


HANGING: Turns = {  # a garment without a body: the sleeves hang down
    f"upperarm01.{side}": [("z", -sign * 30)] for side, sign in (("L", 1), ("R", -1))
}
