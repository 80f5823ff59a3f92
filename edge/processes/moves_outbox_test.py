"""Moves that control does not read leave room in its mailbox for what must be heard."""

from pathlib import Path

from edge.processes.mailbox import Mailbox, Outbox
from edge.processes.moves_outbox import MOST_UNREAD, MovesOutbox


def test_moves_arrive_in_order_with_the_time_of_each(tmp_path: Path) -> None:
    with Mailbox(tmp_path, "control") as control:
        outbox = MovesOutbox(tmp_path, "page")
        assert outbox.send(True, (0.5, -1.0), "take_over")
        assert outbox.send(False, (), "hand_back")
        first, second = control.receive()
        outbox.close()
    assert (first.sender, first.kind) == ("page", "acts")
    assert first.fields["axes"] == [0.5, -1.0]
    assert first.fields["says"] == "take_over"
    assert float(str(first.fields["at_s"])) < float(str(second.fields["at_s"]))


def test_unread_moves_leave_room_for_stop_and_for_words(tmp_path: Path) -> None:
    with Mailbox(tmp_path, "control") as control:
        outbox = MovesOutbox(tmp_path, "page")
        sent = [outbox.send(True, (1.0,), "") for _ in range(1000)]
        assert sum(sent) == MOST_UNREAD
        assert outbox.send(True, (), "success")
        assert Outbox(tmp_path, "tell").send("control", "stop_key", {"at_s": 1.0})
        assert len(control.receive()) == MOST_UNREAD + 2
        assert outbox.send(True, (1.0,), ""), "when it reads again"
        outbox.close()


def test_control_that_is_not_there_delays_nobody(tmp_path: Path) -> None:
    outbox = MovesOutbox(tmp_path, "page")
    assert not outbox.send(True, (), "")
    Mailbox(tmp_path, "control").close()
    assert not outbox.send(True, (), "take_over")
    with Mailbox(tmp_path, "control") as control:
        assert outbox.send(True, (), "")
        assert len(control.receive()) == 1
    outbox.close()
    assert list((tmp_path / "run").iterdir()) == []
