"""What a session can be set to is read as the protocol says it, and named as people do."""

import pytest

from acp_agent.chat.commands import COMMANDS, all_commands, help_rows, ours
from acp_agent.chat.fields import FieldError, JsonObject
from acp_agent.chat.settings import Setting, Settings, Value
from acp_agent.chat.transcript import Transcript

MODES: JsonObject = {
    "modes": {
        "currentModeId": "ask",
        "availableModes": [
            {"id": "ask", "name": "Ask"},
            {"id": "plan", "name": "Plan", "description": "Only reads"},
        ],
    }
}
MODEL: JsonObject = {
    "id": "model",
    "name": "Model",
    "category": "model",
    "type": "select",
    "currentValue": "big",
    "options": [
        {"group": "g", "name": "Group", "options": [{"value": "big", "name": "Big One"}]},
        {"value": "small", "name": "Small One"},
    ],
}
SWITCH: JsonObject = {"id": "fast", "name": "Fast", "type": "boolean", "currentValue": True}
BOTH = Settings().with_answer({**MODES, "configOptions": [MODEL, SWITCH]})


def test_modes_and_options_are_settings_and_groups_are_seen_through() -> None:
    assert [each.setting_id for each in BOTH.all] == ["mode", "model"]
    assert BOTH.of("mode") == Setting(
        "mode", "Mode", "mode", "ask", (Value("ask", "Ask"), Value("plan", "Plan", "Only reads")), by_mode=True
    )
    model = BOTH.named("model")
    assert model is not None
    assert [each.value for each in model.values] == ["big", "small"]
    assert (model.shown, model.by_mode) == ("Big One", False)


def test_a_mode_that_is_an_option_too_is_set_as_one() -> None:
    option: JsonObject = {**MODEL, "id": "behaviour", "category": "mode"}
    both = Settings().with_answer({**MODES, "configOptions": [option]})
    assert [(each.setting_id, each.by_mode) for each in both.all] == [("behaviour", False)]


def test_answers_and_updates_change_what_they_name() -> None:
    transcript = Transcript()
    transcript.set(BOTH)
    transcript.apply({"sessionUpdate": "current_mode_update", "currentModeId": "plan"})
    transcript.apply(
        {"sessionUpdate": "config_option_update", "configOptions": [{**MODEL, "currentValue": "small"}]}
    )
    assert [each.shown for each in transcript.state.settings.all] == ["Plan", "Small One"]
    assert Settings().with_mode("plan") == Settings()
    assert BOTH.with_answer({}) == BOTH
    unreadable: list[JsonObject] = [{"modes": {"availableModes": []}}, {"configOptions": [{"type": "select"}]}]
    for answer in unreadable:
        with pytest.raises(FieldError):
            Settings().with_answer(answer)


def test_values_are_named_as_people_do_and_follow_each_other() -> None:
    model, mode = BOTH.named("model"), BOTH.named("mode")
    assert model is not None
    assert mode is not None
    assert [model.named(word) for word in ("big", "BIG", "small one", "sm", "one", "", "x")] == [
        "big",
        "big",
        "small",
        "small",
        None,
        None,
        None,
    ]
    assert mode.next_value == "plan"
    assert Setting("a", "A", "", "gone", mode.values).next_value == "ask"
    assert Setting("a", "A", "", "gone", ()).next_value == "gone"
    assert Setting("a", "A", "", "gone", ()).shown == "gone"


def test_the_agents_commands_win_but_over_those_that_must_always_work() -> None:
    agents = {"mode": "Say or change", "load": "Load a lorry", "kill": "Kill a process", "image": "Draw one"}
    assert {name: ours(name, agents, BOTH) for name in ("mode", "model", "load", "kill", "new", "x", "image")} == {
        "mode": None,
        "model": "set",
        "load": None,
        "kill": "kill",
        "new": "new",
        "x": None,
        "image": None,
    }
    listed = all_commands(agents, BOTH)
    assert (listed["load"], listed["model"], listed["mode"]) == ("Load a lorry", "Model: Big One", "Say or change")
    assert listed["kill"].startswith("SIGKILL")
    rows = dict(help_rows(agents, BOTH))
    assert rows["/mode"] == "Say or change (the agent's)"
    assert all(any(row.split()[0] == f"/{command.name}" for row in rows) for command in COMMANDS)
