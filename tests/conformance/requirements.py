"""The requirements of the protocol's test kit for version 1, by its ids (acp-facts 4.2)."""

from __future__ import annotations

import json

from pydantic import JsonValue

from tests.conformance.client import Client
from tests.conformance.kit import Kit, Level, NotAdvertised, introduction, requirement
from tests.protocol import shapes
from tests.protocol.shapes import Json

MANDATORY, CAPABILITY, ADVISORY, INFORMATIONAL = Level
HISTORY = {"user_message_chunk", "agent_message_chunk", "agent_thought_chunk"}
PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAIAAACQd1PeAAAADElEQVR4nGP4z8AAAAMBAQDJ/pLvAAAAAElFTkSuQmCC"
UNUSUAL = "Grüße, 世界 🙂"


def kinds(updates: list[Json]) -> list[JsonValue]:
    return [update["sessionUpdate"] for update in updates]


def text_of(updates: list[Json]) -> str:
    return "".join(
        str(content["text"])
        for update in updates
        if update["sessionUpdate"] == "agent_message_chunk" and isinstance(content := update["content"], dict)
    )


def faults(kit: Kit, *, unknown_members: bool) -> list[str]:
    """What was wrong with any message of any agent, either unknown members or all else."""
    found = [fault for client in kit.clients for fault in client.connection.faults]
    return [fault for fault in found if (" has no member " in fault.split("\n")[0]) is unknown_members]


def names(listed: Json) -> list[JsonValue]:
    sessions = listed["sessions"]
    assert isinstance(sessions, list)
    return [entry["sessionId"] for entry in sessions if isinstance(entry, dict)]


def methods_of(client: Client) -> set[JsonValue]:
    return {message["method"] for message in client.messages if "method" in message}


def usable(client: Client) -> None:
    """The connection still answers."""
    client.result("session/list", {})


# --- Initialization -------------------------------------------------------------------------------------------


@requirement(
    "INIT-001", MANDATORY, "`initialize` is answered with a result valid by the schema.", "initialization"
)
def init_001(kit: Kit) -> None:
    _ = kit.agent
    assert shapes.faults("InitializeResponse", kit.initialized) == []


@requirement("INIT-002", MANDATORY, "A client that asks for version 1 is answered with 1.", "initialization")
def init_002(kit: Kit) -> None:
    _ = kit.agent
    assert kit.initialized["protocolVersion"] == 1


@requirement(
    "INIT-003", MANDATORY, "Version 65535 is answered with the agent's latest, not echoed.", "initialization"
)
def init_003(kit: Kit) -> None:
    with kit.bare() as client:
        version = client.result("initialize", introduction(version=65535))["protocolVersion"]
        assert isinstance(version, int)
        assert 1 <= version < 65535
        usable(client)


@requirement("INIT-004", ADVISORY, "`agentInfo` names the agent and its version.", "initialization")
def init_004(kit: Kit) -> None:
    _ = kit.agent
    info = kit.initialized["agentInfo"]
    assert isinstance(info, dict)
    assert info["name"]
    assert info["version"]


# --- JSON-RPC -------------------------------------------------------------------------------------------------


@requirement("JSONRPC-001", MANDATORY, "An id comes back as it was sent, a number or a string.", "overview")
def jsonrpc_001(kit: Kit) -> None:
    # `answer` waits for an equal id of the same type.
    for request_id in (7001, "seven", "7001", 0):
        assert "result" in kit.agent.call("session/list", {}, request_id)


@requirement("JSONRPC-003", MANDATORY, "A notification is not answered.", "overview")
def jsonrpc_003(kit: Kit) -> None:
    before = len(kit.agent.messages)
    kit.agent.notify("_kit.example/unknown", {})
    kit.agent.notify("session/cancel", {"sessionId": "nobody"})
    kit.agent.send({"method": "unknown/notification"})
    usable(kit.agent)
    answers = [message for message in kit.agent.messages[before:] if "method" not in message]
    assert len(answers) == 1, answers


@requirement("JSONRPC-004", ADVISORY, "An unknown method is answered with -32601.", "overview")
def jsonrpc_004(kit: Kit) -> None:
    assert kit.agent.refusal("unknown/method", {})["code"] == -32601


@requirement("JSONRPC-005", ADVISORY, "The connection stays usable after an error.", "overview")
def jsonrpc_005(kit: Kit) -> None:
    kit.agent.refusal("session/new", {"cwd": 1})
    usable(kit.agent)


@requirement("EXT-001", MANDATORY, "An unknown extension request is answered.", "extensibility")
def ext_001(kit: Kit) -> None:
    assert kit.agent.refusal("_kit.example/unknown", {"x": 1})["code"] == -32601


@requirement("META-001", ADVISORY, "`_meta` is accepted, whatever it holds.", "extensibility")
def meta_001(kit: Kit) -> None:
    meta: Json = {"traceparent": "00-1-1-00", "kit.example/x": [None, {"cwd": 1}], "cwd": "/nowhere", "self": 1}
    session_id = kit.new(kit.agent, _meta=meta)["sessionId"]
    params: Json = {
        "sessionId": session_id,
        "prompt": [{"type": "text", "text": "x", "_meta": meta}],
        "_meta": meta,
    }
    assert kit.agent.result("session/prompt", params)["stopReason"] == "end_turn"


# --- Sessions and turns ---------------------------------------------------------------------------------------


@requirement("SESSION-001", MANDATORY, "`session/new` gives a session id.", "session-setup")
def session_001(kit: Kit) -> None:
    assert isinstance(kit.session_id, str)
    assert kit.session_id


@requirement("SESSION-002", MANDATORY, "Each session has an id of its own.", "session-setup")
def session_002(kit: Kit) -> None:
    assert kit.new(kit.agent)["sessionId"] != kit.session_id


@requirement("PROMPT-001", MANDATORY, "A prompt is answered with a stop reason of the protocol.", "prompt-turn")
def prompt_001(kit: Kit) -> None:
    result = kit.prompt(kit.agent, kit.session_id, "hello")
    assert shapes.faults("PromptResponse", result) == []
    assert result["stopReason"] == "end_turn"


@requirement("PROMPT-002", MANDATORY, "The updates of a turn are valid and bear the session's id.", "prompt-turn")
def prompt_002(kit: Kit) -> None:
    other = kit.new(kit.agent)["sessionId"]
    before = len(kit.agent.messages)
    kit.prompt(
        kit.agent, other, f"!write_to_file {kit.workspace / 'a.txt'} text\n!run_command echo steam\n!say done"
    )
    updates = kit.agent.updates(other, before)
    assert {"tool_call", "tool_call_update", "agent_message_chunk"} <= set(kinds(updates))
    # Whatever another session is told meanwhile is nothing of this turn.
    assert not set(kinds(kit.agent.updates(kit.session_id, before))) & {"tool_call", *HISTORY}
    assert [fault for fault in kit.agent.connection.faults if "SessionNotification" in fault] == []


@requirement("PROMPT-003", ADVISORY, "A prompt may hold a `resource_link`.", "content")
def prompt_003(kit: Kit) -> None:
    link: Json = {"type": "resource_link", "uri": "file:///etc/hostname", "name": "hostname"}
    assert kit.prompt(kit.agent, kit.session_id, "look", link)["stopReason"] == "end_turn"


def cancelled(kit: Kit) -> tuple[Json, JsonValue, int]:
    """Cancel a turn that shows something; its answer, its session, and how many messages there were by then."""
    session_id = kit.new(kit.agent)["sessionId"]
    prompt: list[JsonValue] = [{"type": "text", "text": "!stream 2000 20"}]
    turn = kit.agent.ask("session/prompt", {"sessionId": session_id, "prompt": prompt})
    kit.agent.until(lambda _: "agent_message_chunk" in kinds(kit.agent.updates(session_id)))
    kit.agent.notify("session/cancel", {"sessionId": session_id})
    answer = kit.agent.answer(turn)
    return answer, session_id, len(kit.agent.messages)


@requirement("CANCEL-001", MANDATORY, "A cancelled prompt is answered with `cancelled`, no error.", "prompt-turn")
def cancel_001(kit: Kit) -> None:
    answer, session_id, _ = cancelled(kit)
    assert isinstance(result := answer.get("result"), dict), answer
    assert result["stopReason"] == "cancelled"
    assert kit.prompt(kit.agent, session_id, "go on")["stopReason"] == "end_turn"


@requirement("CANCEL-002", MANDATORY, "No update of a cancelled turn comes after its answer.", "prompt-turn")
def cancel_002(kit: Kit) -> None:
    _, session_id, then = cancelled(kit)
    usable(kit.agent)
    assert not set(kinds(kit.agent.updates(session_id, then))) & {"tool_call", "tool_call_update", *HISTORY}


# --- What the client did not advertise ------------------------------------------------------------------------


def after_a_turn_with_tools(kit: Kit) -> set[JsonValue]:
    """The methods that a client without capabilities is called by in a turn that reads, writes and runs."""
    _ = kit.prompted
    return methods_of(kit.agent)


@requirement("CLIENTCAP-001", MANDATORY, "No `fs/*` for a client that has none.", "file-system")
def clientcap_001(kit: Kit) -> None:
    assert not {"fs/read_text_file", "fs/write_text_file"} & after_a_turn_with_tools(kit)


@requirement("CLIENTCAP-002", MANDATORY, "No `terminal/*` for a client that has none.", "terminals")
def clientcap_002(kit: Kit) -> None:
    assert not [method for method in after_a_turn_with_tools(kit) if str(method).startswith("terminal/")]


@requirement("CLIENTCAP-003", MANDATORY, "No `elicitation/create` for a client that has none.", "elicitation")
def clientcap_003(kit: Kit) -> None:
    session_id = kit.new(kit.agent)["sessionId"]
    before = len(kit.agent.messages)
    question = '{"questions": [{"question": "Which colour?", "options": ["red", "blue"]}]}'
    kit.prompt(kit.agent, session_id, f"!call ask_question {question}")
    # The question reaches the user all the same, in the only way that every client has.
    since = [message.get("method") for message in kit.agent.messages[before:]]
    assert "session/request_permission" in since
    assert "elicitation/create" not in since


@requirement("CONFIG-003", MANDATORY, "No boolean option for a client that has none.", "session-config-options")
def config_003(kit: Kit) -> None:
    options = kit.session.get("configOptions") or []
    assert isinstance(options, list)
    assert all(isinstance(option, dict) and option["type"] != "boolean" for option in options)


def auth_methods(kit: Kit, capabilities: Json | None = None) -> list[Json]:
    """How an agent that has no credentials says they can be had."""
    with kit.fresh(capabilities, model=False) as client:
        result = client.messages[0]["result"]
    methods = result.get("authMethods") if isinstance(result, dict) else None
    return [method for method in methods or [] if isinstance(method, dict)] if isinstance(methods, list) else []


@requirement("AUTH-002", MANDATORY, "No terminal authentication for a client that has none.", "authentication")
def auth_002(kit: Kit) -> None:
    assert [method for method in auth_methods(kit) if method.get("type") == "terminal"] == []


# --- What the agent advertises --------------------------------------------------------------------------------


@requirement("LOAD-001", CAPABILITY, "A session can be loaded.", "session-setup")
def load_001(kit: Kit) -> None:
    kit.needs("loadSession")
    with kit.fresh() as client:
        client.result("session/load", kit.setup(sessionId=kit.prompted))
        answered = [json.dumps(update) for update in client.updates(kit.prompted)]
        assert any("first words" in update for update in answered)


@requirement("LOAD-002", CAPABILITY, "The whole replay comes before the answer.", "session-setup")
def load_002(kit: Kit) -> None:
    kit.needs("loadSession")
    with kit.fresh() as client:
        client.result("session/load", kit.setup(sessionId=kit.prompted))
        then = len(client.messages)
        usable(client)
        replayed = set(kinds(client.updates(kit.prompted)))
        assert {"user_message_chunk", "agent_message_chunk", "tool_call"} <= replayed
        assert not set(kinds(client.updates(kit.prompted, then))) & {"tool_call", "tool_call_update", *HISTORY}


@requirement("LOAD-003", ADVISORY, "A load is answered with an object, not `null`.", "session-setup")
def load_003(kit: Kit) -> None:
    kit.needs("loadSession")
    session_id = kit.new(kit.agent)["sessionId"]
    with kit.fresh() as client:
        kit.agent.result("session/close", {"sessionId": session_id})
        assert isinstance(client.call("session/load", kit.setup(sessionId=session_id)).get("result"), dict)


@requirement(
    "RESUME-001", CAPABILITY, "A session is resumed without `mcpServers`, even if never prompted.", "session-setup"
)
def resume_001(kit: Kit) -> None:
    kit.needs("sessionCapabilities.resume")
    session_id = kit.new(kit.agent)["sessionId"]
    kit.agent.result("session/close", {"sessionId": session_id})
    with kit.fresh() as client:
        client.result("session/resume", {"sessionId": session_id, "cwd": str(kit.workspace)})


@requirement("RESUME-002", CAPABILITY, "A resume replays nothing before its answer.", "session-setup")
def resume_002(kit: Kit) -> None:
    kit.needs("sessionCapabilities.resume")
    with kit.fresh() as client:
        client.result("session/resume", {"sessionId": kit.prompted, "cwd": str(kit.workspace)})
        assert not set(kinds(client.updates(kit.prompted))) & HISTORY
        assert kit.prompt(client, kit.prompted, "and now?")["stopReason"] == "end_turn"
        assert "I can see 3 of your messages" in text_of(client.updates(kit.prompted))


@requirement("LIST-001", CAPABILITY, "Sessions are listed.", "session-list")
def list_001(kit: Kit) -> None:
    kit.needs("sessionCapabilities.list")
    assert kit.session_id in names(kit.agent.result("session/list", {"cwd": str(kit.workspace)}))


@requirement("LIST-002", CAPABILITY, "A folder without sessions has the list `[]`.", "session-list")
def list_002(kit: Kit) -> None:
    kit.needs("sessionCapabilities.list")
    assert kit.agent.result("session/list", {"cwd": str(kit.unused)})["sessions"] == []


@requirement("DELETE-001", CAPABILITY, "A deleted session is listed no more.", "session-delete")
def delete_001(kit: Kit) -> None:
    kit.needs("sessionCapabilities.delete")
    session_id = kit.new(kit.agent)["sessionId"]
    assert session_id in names(kit.agent.result("session/list", {}))
    kit.agent.result("session/delete", {"sessionId": session_id})
    assert session_id not in names(kit.agent.result("session/list", {}))


@requirement("DELETE-002", ADVISORY, "To delete a session that is not there succeeds.", "session-delete")
def delete_002(kit: Kit) -> None:
    kit.needs("sessionCapabilities.delete")
    kit.agent.result("session/delete", {"sessionId": "0" * 32})


@requirement("CLOSE-001", CAPABILITY, "A session can be closed.", "session-setup")
def close_001(kit: Kit) -> None:
    kit.needs("sessionCapabilities.close")
    session_id = kit.new(kit.agent)["sessionId"]
    kit.agent.result("session/close", {"sessionId": session_id})
    refused = kit.agent.refusal(
        "session/prompt", {"sessionId": session_id, "prompt": [{"type": "text", "text": "x"}]}
    )
    assert refused["code"] == -32002


@requirement("CLOSE-002", CAPABILITY, "Closing answers a running prompt with `cancelled`.", "session-setup")
def close_002(kit: Kit) -> None:
    kit.needs("sessionCapabilities.close")
    session_id = kit.new(kit.agent)["sessionId"]
    prompt: list[JsonValue] = [{"type": "text", "text": "!stream 2000 20"}]
    turn = kit.agent.ask("session/prompt", {"sessionId": session_id, "prompt": prompt})
    kit.agent.until(lambda _: "agent_message_chunk" in kinds(kit.agent.updates(session_id)))
    closing = kit.agent.ask("session/close", {"sessionId": session_id})
    assert isinstance(result := kit.agent.answer(turn).get("result"), dict)
    assert result["stopReason"] == "cancelled"
    assert "result" in kit.agent.answer(closing)


@requirement("ADDDIRS-001", CAPABILITY, "A session may have additional directories.", "session-setup")
def adddirs_001(kit: Kit) -> None:
    kit.needs("sessionCapabilities.additionalDirectories")
    assert kit.new(kit.agent, additionalDirectories=[str(kit.unused)])["sessionId"]


@requirement("MODES-001", CAPABILITY, "The current mode is one of those offered.", "session-modes")
def modes_001(kit: Kit) -> None:
    modes = kit.offered("modes")
    assert isinstance(modes, dict)
    assert modes["currentModeId"] in mode_ids(modes)


@requirement("MODES-002", CAPABILITY, "Each mode that is offered can be set.", "session-modes")
def modes_002(kit: Kit) -> None:
    modes = kit.offered("modes")
    assert isinstance(modes, dict)
    for mode in [*mode_ids(modes), modes["currentModeId"]]:
        kit.agent.result("session/set_mode", {"sessionId": kit.session_id, "modeId": mode})


def mode_ids(modes: Json) -> list[JsonValue]:
    available = modes["availableModes"]
    assert isinstance(available, list)
    return [mode["id"] for mode in available if isinstance(mode, dict)]


def values(option: Json) -> list[JsonValue]:
    """The values of an option, whether they are in groups or not."""
    found: list[JsonValue] = []
    entries = option["options"]
    for entry in entries if isinstance(entries, list) else ():
        assert isinstance(entry, dict)
        found += values(entry) if "options" in entry else [entry["value"]]
    return found


@requirement(
    "CONFIG-001", CAPABILITY, "The current value of an option is one of those offered.", "session-config-options"
)
def config_001(kit: Kit) -> None:
    options = kit.offered("configOptions")
    assert isinstance(options, list)
    for option in options:
        assert isinstance(option, dict)
        assert option["currentValue"] in values(option)


@requirement("CONFIG-002", CAPABILITY, "Setting an option is answered with all of them.", "session-config-options")
def config_002(kit: Kit) -> None:
    options = kit.offered("configOptions")
    assert isinstance(options, list)
    for option in options:
        assert isinstance(option, dict)
        change: Json = {"sessionId": kit.session_id, "configId": option["id"], "value": option["currentValue"]}
        answered = kit.agent.result("session/set_config_option", change)["configOptions"]
        assert isinstance(answered, list)
        assert [each["id"] for each in answered if isinstance(each, dict)] == [
            each["id"] for each in options if isinstance(each, dict)
        ]


@requirement("PROMPTCAP-001", CAPABILITY, "A prompt may hold an image.", "content")
def promptcap_001(kit: Kit) -> None:
    kit.needs("promptCapabilities.image")
    image: Json = {"type": "image", "mimeType": "image/png", "data": PIXEL}
    assert kit.prompt(kit.agent, kit.session_id, "look", image)["stopReason"] == "end_turn"


@requirement("PROMPTCAP-002", CAPABILITY, "A prompt may hold audio.", "content")
def promptcap_002(kit: Kit) -> None:
    kit.needs("promptCapabilities.audio")
    audio: Json = {"type": "audio", "mimeType": "audio/wav", "data": "UklGRg=="}
    assert kit.prompt(kit.agent, kit.session_id, "hear", audio)["stopReason"] == "end_turn"


@requirement("PROMPTCAP-003", CAPABILITY, "A prompt may hold an embedded resource.", "content")
def promptcap_003(kit: Kit) -> None:
    kit.needs("promptCapabilities.embeddedContext")
    resource: Json = {
        "type": "resource",
        "resource": {"uri": "file:///a.txt", "text": "words", "mimeType": "text/plain"},
    }
    assert kit.prompt(kit.agent, kit.session_id, "read", resource)["stopReason"] == "end_turn"


@requirement("AUTH-001", ADVISORY, "Each way to authenticate has an id of its own and a name.", "authentication")
def auth_001(kit: Kit) -> None:
    methods = auth_methods(kit, {"auth": {"terminal": True}})
    if not methods:
        raise NotAdvertised("authMethods")
    assert all(method["id"] and method["name"] for method in methods)
    assert len({str(method["id"]) for method in methods}) == len(methods)


@requirement("AUTH-003", CAPABILITY, "After `authenticate` a session can be made.", "authentication")
def auth_003(kit: Kit) -> None:
    methods = [method for method in auth_methods(kit) if method.get("type") != "terminal"]
    if not methods:
        raise NotAdvertised("authMethods that a client can carry out alone")
    with kit.fresh(model=False) as client:
        # The method says what the person does; without it nothing is pretended.
        assert client.refusal("authenticate", {"methodId": methods[0]["id"]})["code"] == -32000
        kit.log_in()
        client.result("authenticate", {"methodId": methods[0]["id"]})
        kit.new(client)


@requirement("AUTH-004", CAPABILITY, "`logout` succeeds.", "authentication")
def auth_004(kit: Kit) -> None:
    kit.needs("auth.logout")
    kit.log_in()
    with kit.fresh(model=False) as client:
        session_id = kit.new(client)["sessionId"]
        client.result("logout", {})
        prompt: list[JsonValue] = [{"type": "text", "text": "x"}]
        refused = client.refusal("session/prompt", {"sessionId": session_id, "prompt": prompt})
        assert refused["code"] == -32000


@requirement(
    "AUTH-005", ADVISORY, "Without a way to authenticate, sessions need no authentication.", "authentication"
)
def auth_005(kit: Kit) -> None:
    _ = kit.agent
    assert not kit.initialized.get("authMethods")
    assert kit.session_id


# --- The wire as a whole: last, when everything has been said -------------------------------------------------


@requirement("ERROR-001", ADVISORY, "The message of an error is one line.", "error")
def error_001(kit: Kit) -> None:
    errors = [message["error"] for client in kit.clients for message in client.messages if "error" in message]
    assert len(errors) > 3
    assert all(isinstance(error, dict) and "\n" not in str(error["message"]) for error in errors)


@requirement("JSONRPC-002", MANDATORY, "An answer has a result or an error, never both.", "overview")
def jsonrpc_002(kit: Kit) -> None:
    answers = [each for client in kit.clients for each in client.messages if "method" not in each]
    assert len(answers) > 50
    for answer in answers:
        assert ("result" in answer) != ("error" in answer), answer
        if isinstance(error := answer.get("error"), dict):
            assert type(error["code"]) is int
            assert type(error["message"]) is str


@requirement("SHUTDOWN-001", ADVISORY, "The agent ends when its input closes.", "transports")
def shutdown_001(kit: Kit) -> None:
    with kit.fresh() as client:
        kit.new(client)
        assert client.end() == 0


@requirement("INFO-PARSE-001", INFORMATIONAL, "What is no JSON is answered with …", "error")
def info_parse_001(kit: Kit) -> str:
    with kit.fresh() as client:
        client.write(b"{no JSON\n")
        return _said(client)


@requirement("INFO-INVALIDREQ-001", INFORMATIONAL, "What is no request is answered with …", "error")
def info_invalidreq_001(kit: Kit) -> str:
    with kit.fresh() as client:
        client.send({"id": "odd", "method": 1})
        return _said(client)


@requirement(
    "INFO-UNKNOWNSESSION-001", INFORMATIONAL, "A prompt for an unknown session is answered with …", "error"
)
def info_unknownsession_001(kit: Kit) -> str:
    prompt: list[JsonValue] = [{"type": "text", "text": "x"}]
    error = kit.agent.refusal("session/prompt", {"sessionId": "nobody", "prompt": prompt})
    data = error["data"]
    assert isinstance(data, dict)
    named = "the id asked for" if data["sessionId"] == "nobody" else "another"
    return f"{error['code']}, `data.sessionId` is {named}"


@requirement("STDERR-001", INFORMATIONAL, "On standard error the agent wrote …", "transports")
def stderr_001(kit: Kit) -> str:
    with kit.fresh() as client:
        kit.prompt(client, kit.new(client)["sessionId"], "hello")
        client.end()
        return "something" if client.errors else "nothing in a session without faults"


def _said(client: Client) -> str:
    """How an error was answered, and that the connection is still usable."""
    message = client.until(lambda message: "error" in message)
    usable(client)
    error = message["error"]
    assert isinstance(error, dict)
    return f"{error['code']} with id {json.dumps(message['id'])}; the connection stays usable"


@requirement("TRANSPORT-001", MANDATORY, "Each line on stdout is one JSON-RPC message.", "transports")
def transport_001(kit: Kit) -> None:
    lines = [line for client in kit.clients for line in client.lines]
    assert len(lines) == sum(len(client.messages) for client in kit.clients)
    assert all(line.endswith(b"\n") and json.loads(line)["jsonrpc"] == "2.0" for line in lines)


@requirement("TRANSPORT-002", MANDATORY, "All of it is UTF-8.", "transports")
def transport_002(kit: Kit) -> None:
    before = len(kit.agent.messages)
    session_id = kit.new(kit.agent)["sessionId"]
    kit.prompt(kit.agent, session_id, UNUSUAL)
    assert UNUSUAL in text_of(kit.agent.updates(session_id, before))
    for client in kit.clients:
        for line in client.lines:
            line.decode("utf-8")


@requirement("SCHEMA-001", MANDATORY, "Every message is valid by the schema.", "schema/v1")
def schema_001(kit: Kit) -> None:
    found = faults(kit, unknown_members=False)
    assert not found, "\n".join(found[:5])


@requirement("SCHEMA-002", ADVISORY, "No message has members that the schema does not name.", "schema/v1")
def schema_002(kit: Kit) -> None:
    found = faults(kit, unknown_members=True)
    assert not found, "\n".join(found[:5])
