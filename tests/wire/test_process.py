"""The wire's behaviour from outside: a stub agent as a real process, a client that speaks bytes."""

import json
import os
import pty
import signal
import socket
import termios
from pathlib import Path

import pytest

from acp_agent.wire.framing import ID_LIMIT, LINE_LIMIT, OUTGOING_LIMIT, VALUES_LIMIT
from tests.wire.client import INITIALIZE, StubProcess, prompt_params, request_line, socket_stub

SECRET = "hunter2-hunter2"
INVALID_REQUEST, INVALID_PARAMS, INTERNAL = -32600, -32602, -32603
PARSE_ERROR, CANCELLED = -32700, -32800
BAD_LINES: list[tuple[bytes, int, object]] = [
    (b"[]", INVALID_REQUEST, None),
    (b'[{"jsonrpc":"2.0","id":8,"method":"session/list"}]', INVALID_REQUEST, None),
    (b"1", INVALID_REQUEST, None),
    (b"null", INVALID_REQUEST, None),
    (b'"x"', INVALID_REQUEST, None),
    (b"{}", INVALID_REQUEST, None),
    (b'{"id":"seven"}', INVALID_REQUEST, "seven"),
    (b'{"id":{},"method":"session/list"}', INVALID_REQUEST, None),
    (b'{"id":9,"method":"session/list","params":[]}', INVALID_PARAMS, 9),
    (b'{"id":9,"method":"session/new","params":{"_meta":3}}', INVALID_PARAMS, 9),
    (b"\xff\xfe", PARSE_ERROR, None),
    (b'{"id":1,', PARSE_ERROR, None),
    (b'{"id":1,"method":"session/list","params":{"x":NaN}}', PARSE_ERROR, None),
    (b"[" * 200_000, PARSE_ERROR, None),
    (b"9" * 5_000, PARSE_ERROR, None),
    (b'{"id":"' + b"i" * (ID_LIMIT + 1) + b'","method":"session/list"}', INVALID_REQUEST, None),
    (b'{"id":1,"method":"session/list","params":{"_meta":' + b'{"m":' * 99 + b"1" + b"}" * 101, PARSE_ERROR, None),
    (
        b'{"id":1,"method":"session/list","params":{"_meta":{"m":[' + b"0," * VALUES_LIMIT + b"0]}}}",
        PARSE_ERROR,
        None,
    ),
]


def test_every_bad_line_is_answered_once_and_the_connection_lives_on() -> None:
    with StubProcess() as stub:
        stub.initialize()
        for line, code, request_id in BAD_LINES:
            stub.write(b"\n \r\n" + line + b"\r\n")
            answer = stub.read()
            assert (answer["id"], answer["error"]["code"]) == (request_id, code)
            assert {"reason", "details"} <= set(answer["error"]["data"])
            assert "\n" not in answer["error"]["message"]
        # Toad's answer to an update it does not know, and a response to nothing
        stub.write(b'{"jsonrpc":"2.0","id":null,"error":{"code":-32602,"message":"no"}}\n{"id":5,"result":[]}\n')
        assert stub.call("session/list", None)["result"] == {"sessions": []}


def test_nothing_longer_than_the_limit_is_written() -> None:
    with StubProcess() as stub:
        stub.initialize()
        stub.prompt(f"answer_with_bytes {OUTGOING_LIMIT}")
        refused = stub.read()["error"]
        assert (refused["code"], refused["data"]["reason"]) == (INTERNAL, "message_too_long")
        assert refused["data"]["limit"] == OUTGOING_LIMIT
        stub.prompt("repeat", session_id="s" * (OUTGOING_LIMIT + 1))
        told = stub.read()["error"]
        assert (told["data"]["reason"], told["data"].get("sessionId")) == ("message_too_long", None)
        stub.prompt(f"answer_with_bytes {OUTGOING_LIMIT - 200}")
        assert len(stub.read()["result"]["_meta"]["found"]) == OUTGOING_LIMIT - 200


def test_lines_up_to_the_limit_are_served_and_longer_ones_skipped() -> None:
    with StubProcess() as stub:
        stub.initialize()
        stub.prompt("measure " + "é" * 10_000_000)
        assert stub.read()["result"]["_meta"]["found"] == 10_000_000
        stub.write(b"x" * (LINE_LIMIT + 1))
        stub.write(b'{"still the same line"}\n')
        refused = stub.read()
        assert (refused["id"], refused["error"]["code"]) == (None, INVALID_REQUEST)
        assert refused["error"]["data"]["limit"] == LINE_LIMIT
        assert stub.call("session/list", {})["result"] == {"sessions": []}


def test_initialize_comes_first_and_once_and_keeps_what_the_client_said() -> None:
    with StubProcess() as stub:
        stub.write(b'{"jsonrpc":"2.0","method":"session/cancel","params":{"sessionId":"s"}}\n')
        early = stub.call("session/new", {"cwd": "/", "mcpServers": []})["error"]
        assert (early["code"], early["data"]["reason"]) == (INVALID_REQUEST, "not_initialized")
        failed = stub.call("initialize", {**INITIALIZE, "protocolVersion": 65536})
        assert failed["error"]["code"] == INVALID_PARAMS
        params = {**INITIALIZE, "_meta": {"protocol_version": 9, "self": 1}}
        assert stub.call("initialize", params)["result"]["_meta"] == {"params": params}
        again = stub.call("initialize", INITIALIZE)["error"]
        assert (again["code"], again["data"]["reason"]) == (INVALID_REQUEST, "already_initialized")


def test_meta_reaches_the_handler_as_meta_and_overrides_nothing() -> None:
    meta = {
        "self": 1,
        "cwd": "/evil",
        "session_id": "evil",
        "meta": {"meta": 2},
        "prompt": [],
        "traceparent": "00-1",
    }
    with StubProcess() as stub:
        stub.initialize()
        opened = stub.call("session/new", {"cwd": "/work", "mcpServers": [], "_meta": meta})["result"]["_meta"]
        assert (opened["cwd"], opened["meta"]) == ("/work", meta)
        assert set(opened["others"]) == {"mcp_servers", "additional_directories"}
        stub.prompt("measure 123", session_id="mine", _meta=meta)
        answered = stub.read()["result"]["_meta"]
        assert answered == {"found": 3, "session": "mine", "meta": meta, "others": []}
        extension = {"_meta": meta, "x": 1}
        assert stub.call("_own/method", extension)["result"] == {"name": "own/method", "params": extension}


def test_an_id_in_use_is_refused_and_the_first_request_still_answered() -> None:
    with StubProcess() as stub:
        stub.initialize()
        request_id = stub.prompt("ask")
        question = stub.read()
        stub.write(request_line(request_id, "session/list", {}))
        refused = stub.read()
        assert (refused["id"], refused["error"]["data"]["reason"]) == (request_id, "id_in_use")
        stub.write(json.dumps({"jsonrpc": "2.0", "id": question["id"], "error": "malformed"}).encode() + b"\n")
        answer = stub.read()
        assert answer["id"] == request_id
        assert answer["result"]["_meta"]["found"].startswith("-32603 ")
        stub.write(request_line(request_id, "session/list", {}))
        assert stub.read()["result"] == {"sessions": []}


def test_every_failure_is_answered_completely_and_without_secrets() -> None:
    with StubProcess() as stub:
        stub.initialize()
        server = {"name": "n", "command": 5, "args": [SECRET], "env": [{"name": "TOKEN", "value": SECRET}]}
        invalid = stub.call("session/new", {"sessionId": "s", "cwd": [SECRET], "mcpServers": [server]})["error"]
        assert invalid["code"] == INVALID_PARAMS
        assert SECRET not in json.dumps(invalid)
        assert invalid["data"]["errors"] == [{"path": "cwd", "message": "Input should be a valid string"}]
        assert invalid["data"]["sessionId"] == "s"

        def failure(prompt: str) -> dict[str, object]:
            stub.prompt(prompt)
            error = stub.read()["error"]
            assert isinstance(error, dict)
            return error

        unforeseen = {"reason": "internal_error", "details": "it held [hidden]", "sessionId": "s"}
        assert failure(f"fail it held {SECRET}") == {
            "code": -32603,
            "message": "Internal error",
            "data": unforeseen,
        }
        known = {"reason": "harness_died", "details": "why", "attempts": 2, "sessionId": "s"}
        assert failure("fail_known why") == {"code": -31006, "message": "The harness died", "data": known}
        assert failure("fail_with_an_object")["code"] == -31999
        assert failure("answer_with_an_object")["code"] == -32603
        unknown = stub.call("$/unknown", {})["error"]
        assert (unknown["code"], unknown["data"]["method"]) == (-32601, "$/unknown")


def test_nothing_but_the_protocol_reaches_stdout_and_no_child_reads_stdin() -> None:
    with StubProcess() as stub:
        stub.initialize()
        stub.prompt("print stray")
        stub.wait_for_mark("stray")
        assert stub.read()["result"]["_meta"]["found"] == [False, False]
        stub.prompt("say_half_an_emoji")
        assert stub.read()["params"]["update"]["content"]["text"] == "cut \ufffd"
        assert stub.read()["result"]["stopReason"] == "end_turn"
        stub.stdin.close()
        assert stub.stdout.read() == b""
        assert stub.wait_for_own_end() == 0
        assert stub.rest_of_stderr().splitlines().count("stray") == 3


def test_a_task_that_a_handler_leaves_behind_sends_after_the_response() -> None:
    with StubProcess() as stub:
        stub.initialize()
        for _ in range(20):
            request_id = stub.prompt("say_later after")
            assert stub.read()["id"] == request_id
            assert stub.read()["params"]["update"]["content"]["text"] == "after"


def test_a_slow_client_gets_everything_in_order() -> None:
    with StubProcess() as stub:
        stub.initialize()
        ids = [stub.prompt("large")]
        stub.wait_for_mark("sending")
        ids += [stub.prompt(f"say {number}") for number in range(20)]
        said = []
        for _ in range(2 * len(ids)):
            message = stub.read()
            if "method" in message:
                said.append(message["params"]["update"]["content"]["text"])
            else:
                ids.remove(message["id"])
        assert [len(said[0]), *said[1:]] == [4 * 1024 * 1024, *map(str, range(20))]
        assert ids == []


@pytest.mark.parametrize("busy_with", [None, "wait", "ignore_cancellation", "block", "hold_a_thread"])
def test_the_end_of_the_input_ends_the_process(busy_with: str | None) -> None:
    with StubProcess() as stub:
        stub.initialize()
        stub.prompt("spawn")
        assert "result" in stub.read()
        if busy_with is not None:
            stub.prompt(busy_with)
            stub.wait_for_mark("waiting")
        stub.stdin.close()
        assert stub.wait_for_own_end() == 0
        if busy_with != "block":
            stub.wait_for_mark("shutdown")


def test_children_that_have_ended_are_not_reported_as_killed() -> None:
    with StubProcess() as stub:
        stub.initialize()
        stub.prompt("leave_a_zombie")
        assert "result" in stub.read()
        stub.stdin.close()
        assert stub.wait_for_own_end() == 0
        assert "killed" not in stub.rest_of_stderr()


def test_children_that_start_others_all_the_time_are_killed_with_them() -> None:
    with StubProcess() as stub:
        stub.initialize()
        stub.prompt("spawn_without_end")
        assert "result" in stub.read()
        stub.stdin.close()
        assert stub.wait_for_own_end() == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("busy_with", ["wait", "ignore_cancellation", "block", "take_the_wakeup_descriptor"])
def test_a_signal_ends_the_process(number: signal.Signals, busy_with: str) -> None:
    with StubProcess() as stub:
        stub.initialize()
        stub.prompt("spawn")
        assert "result" in stub.read()
        prompt_id = stub.prompt(busy_with)
        stub.wait_for_mark("waiting")
        stub.process.send_signal(number)
        if busy_with == "wait":  # a handler that answers its cancellation is still heard
            answer = stub.read()
            assert (answer["id"], answer["result"]["_meta"]["found"]) == (prompt_id, "cancelled")
        assert stub.wait_for_own_end() == 0
        if busy_with != "block":
            stub.wait_for_mark("shutdown")


@pytest.mark.parametrize("closed", ["stdin", "stdout", "both"])
def test_a_client_that_vanishes_with_a_full_pipe_ends_the_process(closed: str) -> None:
    with StubProcess() as stub:
        stub.initialize()
        stub.prompt("spawn")
        assert "result" in stub.read()
        stub.prompt("flood")
        stub.wait_for_mark("sending")
        if closed != "stdout":
            stub.stdin.close()
        if closed != "stdin":
            stub.stdout.close()
        assert stub.wait_for_own_end() == 0
        stub.wait_for_mark("served")
        assert "Background task failed" not in stub.rest_of_stderr()


@pytest.mark.parametrize("busy_with", ["wait", "hold_a_thread"])
def test_a_failed_shutdown_shows_in_the_exit_status(busy_with: str) -> None:
    with StubProcess() as stub:
        stub.initialize()
        stub.prompt("break_the_shutdown")
        assert "result" in stub.read()
        stub.prompt(busy_with)
        stub.wait_for_mark("waiting")
        stub.stdin.close()
        assert stub.wait_for_own_end() == 1


def test_a_client_that_only_complains_and_never_reads_is_given_up() -> None:
    with StubProcess(arguments=("--impatient",)) as stub:
        line = b'{"id":"' + b"x" * ID_LIMIT + b'"}\n'
        with pytest.raises(BrokenPipeError):
            while True:
                stub.write(line)
        assert stub.wait_for_own_end() == 0


def withdraw(stub: StubProcess, request_id: int) -> None:
    params = {"requestId": request_id}
    stub.write(json.dumps({"jsonrpc": "2.0", "method": "$/cancel_request", "params": params}).encode() + b"\n")


def test_a_request_that_is_withdrawn_is_answered_and_its_question_withdrawn_too() -> None:
    with StubProcess() as stub:
        stub.initialize()
        request_id = stub.prompt("wait_to_be_withdrawn", session_id="mine")
        stub.wait_for_mark("waiting")
        withdraw(stub, request_id)
        withdraw(stub, request_id + 1000)
        answer = stub.read()
        assert (answer["id"], answer["error"]["code"]) == (request_id, CANCELLED)
        assert answer["error"]["data"]["sessionId"] == "mine"
        request_id = stub.prompt("withdraw")
        question = stub.read()
        withdraw(stub, request_id)
        withdrawal = stub.read()
        assert (withdrawal["method"], withdrawal["params"]) == ("$/cancel_request", {"requestId": question["id"]})
        assert stub.read()["result"]["_meta"]["found"] == "withdrawn"
        # The client may have answered in the meantime; that means nothing any more.
        stub.write(json.dumps({"jsonrpc": "2.0", "id": question["id"], "result": {}}).encode() + b"\n")
        assert stub.call("session/list", {})["result"] == {"sessions": []}


def test_an_agent_that_cannot_be_loaded_answers_what_was_asked_and_ends() -> None:
    with StubProcess(arguments=("--unloadable",)) as stub:
        stub.write(request_line(1, "initialize", INITIALIZE) + request_line(2, "session/list", {}))
        assert "result" in stub.read()
        refused = stub.read()
        assert (refused["id"], refused["error"]["data"]["reason"]) == (2, "cannot_start")
        assert stub.wait_for_own_end() == 1
        assert "there is no such module" in stub.rest_of_stderr()


def test_the_last_answer_is_written_before_the_process_ends() -> None:
    with StubProcess() as stub:
        stub.initialize()
        request_id = stub.prompt("answer_at_length")
        stub.stdin.close()
        stub.wait_for_mark("flushing")
        assert stub.read()["id"] == request_id
        assert stub.wait_for_own_end() == 0


def test_requests_from_a_file_are_answered_and_then_the_process_ends(tmp_path: Path) -> None:
    script = tmp_path / "requests"
    script.write_bytes(
        request_line(1, "initialize", INITIALIZE)
        + request_line(2, "session/prompt", prompt_params("measure abc"))
        + request_line(3, "session/list", {}).rstrip(b"\n")
    )
    answers = tmp_path / "answers"
    with (
        script.open("rb") as stdin,
        answers.open("wb") as stdout,
        StubProcess(stdin=stdin.fileno(), stdout=stdout.fileno()) as stub,
    ):
        assert stub.wait_for_own_end() == 0
    assert sorted(json.loads(line)["id"] for line in answers.read_text().splitlines()) == [1, 2, 3]


def test_a_closed_stderr_costs_nothing_but_the_log() -> None:
    with StubProcess(through='exec "$@" 2>&-') as stub:
        stub.initialize()
        stub.prompt("print stray")
        assert stub.read()["result"]["_meta"]["found"] == [False, False]
        stub.stdin.close()
        assert stub.stdout.read() == b""
        assert stub.wait_for_own_end() == 0


def test_an_empty_input_ends_the_process() -> None:
    with Path(os.devnull).open("rb") as stdin, StubProcess(stdin=stdin.fileno()) as stub:
        assert stub.wait_for_own_end() == 0
        assert stub.stdout.read() == b""


@pytest.mark.parametrize("blocking", [True, False])
def test_a_socket_serves_as_both_streams(blocking: bool) -> None:
    with socket_stub(blocking=blocking) as (stub, ours):
        ours.sendall(request_line(1, "initialize", INITIALIZE))
        with ours.makefile("rb") as answers:
            assert json.loads(answers.readline())["id"] == 1
            ours.sendall(request_line(2, "session/prompt", prompt_params("large")))
            stub.wait_for_mark("sending")
            assert len(answers.readline()) > 4 * 1024 * 1024
            assert json.loads(answers.readline())["id"] == 2
            ours.shutdown(socket.SHUT_WR)
            assert answers.read() == b""
        assert stub.wait_for_own_end() == 0


@pytest.mark.parametrize("hangs_up", [False, True])
def test_a_terminal_serves_as_both_streams(hangs_up: bool) -> None:
    ours, theirs = pty.openpty()
    settings = termios.tcgetattr(theirs)
    settings[3] &= ~termios.ECHO
    termios.tcsetattr(theirs, termios.TCSANOW, settings)
    with os.fdopen(ours, "rb+", buffering=0) as client, StubProcess(stdin=theirs, stdout=theirs) as stub:
        os.close(theirs)
        client.write(request_line(1, "initialize", INITIALIZE))
        assert json.loads(client.readline())["id"] == 1
        if hangs_up:
            client.close()
        else:
            client.write(b"\x04")
        assert stub.wait_for_own_end() == 0
        assert "Traceback" not in stub.rest_of_stderr()
