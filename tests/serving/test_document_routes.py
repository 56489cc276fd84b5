"""Documents over HTTP: made, changed, shared, verified and deleted."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from ogpt.errors import RequestError
from ogpt.serving.documents.document_content import (
    MAX_SPANS,
    DocumentContent,
    DocumentSpan,
)
from ogpt.serving.documents.document_store import DocumentStore
from tests.serving.calls import CLIENT, answer
from tests.serving.running import running, started

Fields = dict[str, Any]

HOSTILE = "<script>alert(1)</script>\u202e\u0000\U0001f600 'x' \"y\" \\u0041\r\n"
TEXT: Fields = {
    "title": "A story",
    "spans": [{"text": "Once ", "by": "human"}, {"text": HOSTILE, "by": "machine"}],
}

BODIES: Fields = {"/verify": {"span": 1}, "/edit-key": {"edit_key": "n" * 32}}

SPAN = DocumentSpan(text="", by="human")


@pytest.fixture
def url(small_folder: Path, database: str) -> Iterator[str]:
    """A server that keeps documents in an empty database."""
    with running({"small": small_folder}, documents=database) as found:
        yield found


def call(
    method: str, url: str, key: str = "", changes: int | None = None, /, **body: Any
) -> httpx.Response:
    """Call a route; `changes` is the revision that the body changes."""
    headers = {"edit-key": key} if key else {}
    if changes is not None:
        headers["if-match"] = f'"{changes}"'
    return CLIENT.request(method, url, headers=headers, json=body or None)


def made(url: str, **fields: Any) -> tuple[str, str]:
    """Path and edit key of a new document."""
    response = call("POST", f"{url}/documents", **(fields or TEXT))
    assert response.status_code == 201, response.text
    return f"{url}/documents/{response.json()['id']}", response.json()["edit_key"]


def refused(response: httpx.Response, status: int, code: str | None) -> str:
    """The message of an error."""
    assert response.status_code == status, response.text
    error = response.json()["error"]
    assert error["code"] == code
    return str(error["message"])


def test_the_life_of_a_document(url: str) -> None:
    assert call("GET", f"{url}/documents").json() == {"kept": True}
    response = call("POST", f"{url}/documents", **TEXT)
    document = response.json()
    assert (response.status_code, response.headers["etag"]) == (201, f'"1-{document["tag"]}"')
    assert response.headers["cache-control"] == "no-store"
    assert document == {
        **TEXT,
        "id": document["id"],
        "edit_key": document["edit_key"],
        "revision": 1,
        "tag": document["tag"],
        "seen": {"programs": 1},
        "changes": 0,
        "created": document["created"],
        "updated": document["created"],
        "share_id": None,
    }
    key = document.pop("edit_key")
    path = f"{url}/documents/{document['id']}"
    assert call("GET", path, key).json() == document
    changed = call("PUT", path, key, 1, title="Another", spans=[])
    assert changed.status_code == 200, changed.text
    now = call("GET", path, key).json()
    assert (now["title"], now["revision"]) == ("Another", 2)
    assert changed.json() == {name: now[name] for name in ("revision", "created", "updated", "tag")}
    assert changed.headers["etag"] == f'"2-{changed.json()["tag"]}"'
    gone = call("DELETE", path, key)
    assert (gone.status_code, gone.content) == (204, b"")
    assert "it may have been deleted" in refused(call("GET", path, key), 404, "document_not_found")


def test_two_tabs_lose_no_words(url: str) -> None:
    path, key = made(url)
    ours = call("PUT", path, key, 1, title="ours").json()
    theirs = call("PUT", path, key, 1, title="theirs")
    assert "has revision 2 now; the change is of 1" in refused(theirs, 409, "revision_conflict")
    assert theirs.json()["document"] == call("GET", path, key).json()
    assert theirs.json()["document"]["title"] == "ours"
    assert theirs.headers["etag"] == f'"2-{ours["tag"]}"'
    assert call("PUT", path, key, 1, title="ours").json() == ours, "sent again"
    assert call("PUT", path, key, 2, title="ours and theirs").json()["revision"] == 3


def test_a_document_may_come_back_as_it_was_received(url: str) -> None:
    path, key = made(url)
    received = call("GET", path, key).json()
    again = call("PUT", path, key, 1, **received, lens={"surprisal": [0.5, None]})
    counted = {"revision": 2, "changes": 1, "seen": {"programs": 2}}
    kept = {**received, "lens": {"surprisal": [0.5, None]}, **counted}
    kept |= {name: again.json()[name] for name in ("updated", "tag")}
    assert call("GET", path, key).json() == kept


def test_changes_of_clients_that_do_not_count_are_counted(url: str) -> None:
    path, key = f"{url}/documents/{'e' * 32}", "k" * 32
    page = {"seen": {"tab": 3}, "changes": 0}
    assert call("PUT", path, key, 0, **page).is_success
    for revision, sent, seen in (
        (1, {"title": "dropped"}, {"tab": 3, "programs": 2}),
        (2, {**page, "title": "as received"}, {"tab": 3, "programs": 3}),
        (3, {"seen": {"tab": "many"}, "changes": 3}, {"tab": 3, "programs": 4}),
        (4, {"seen": [], "changes": 4}, {"tab": 3, "programs": 5}),
        (5, {"seen": {"tab": 4}, "changes": 5}, {"tab": 4}),  # a page answers for itself
        (6, {"seen": {"other": 1}}, {"tab": 4, "other": 1, "programs": 7}),
    ):
        answers = [call("PUT", path, key, revision, **sent).json() for _ in range(2)]
        assert answers[0] == answers[1], "sent again"
        now = call("GET", path, key).json()
        assert (now["seen"], now["changes"]) == (seen, revision)


def test_the_same_revision_of_other_words(url: str) -> None:
    """A database that was restored may have it."""
    path, key = made(url)
    tag = call("GET", path, key).json()["tag"]
    for known, status in ((tag, 304), ("0" * 16, 200)):
        headers = {"edit-key": key, "if-none-match": f'"1-{known}"'}
        assert CLIENT.get(path, headers=headers).status_code == status
    headers = {"edit-key": key, "if-match": f'"1-{"0" * 16}"'}
    lost = CLIENT.put(path, json={"title": "theirs"}, headers=headers)
    message = refused(lost, 409, "revision_conflict")
    assert "has revision 1 now; the change is of 1, as it was before" in message
    headers["if-match"] = f'"1-{tag}"'
    assert CLIENT.put(path, json={"title": "ours"}, headers=headers).json()["revision"] == 2


def test_a_client_makes_a_document_by_saving_it(url: str) -> None:
    path, key = f"{url}/documents/{'d' * 32}", "k" * 32
    made = call("PUT", path, key, 0, **TEXT)
    assert (made.status_code, made.json()["revision"]) == (200, 1)
    assert call("PUT", path, key, 0, **TEXT).json() == made.json(), "sent again"
    kept = call("GET", path, key).json()
    assert {name: kept[name] for name in TEXT} == TEXT
    refused(call("PUT", path, key, 0, title="other"), 409, "revision_conflict")
    refused(call("PUT", path, "x" * 32, 0, **TEXT), 404, "document_not_found")
    short = call("PUT", path, "x", 0, **TEXT)
    assert "Edit-Key has 1 characters" in refused(short, 400, "invalid_value")
    assert short.json()["error"]["param"] == "Edit-Key"


def test_what_a_client_has_is_not_sent_again(url: str) -> None:
    path, key = made(url)
    for known, status in (('"1"', 304), ('W/"1"', 304), ('"2"', 200), ("", 200), ("*", 200)):
        found = CLIENT.get(path, headers={"edit-key": key, "if-none-match": known})
        assert found.status_code == status, known
        assert found.headers["etag"].startswith('"1-')
        assert bool(found.content) == (status == 200)
    wrong = CLIENT.get(path, headers={"edit-key": "no", "if-none-match": '"1"'})
    refused(wrong, 404, "document_not_found")


def test_an_edit_key_that_was_changed(url: str) -> None:
    path, key = made(url)
    new = "n" * 32
    for _ in range(2):  # the first answer may have been lost
        changed = call("PUT", f"{path}/edit-key", key, edit_key=new)
        assert (changed.status_code, changed.content) == (204, b"")
    refused(call("GET", path, key), 404, "document_not_found")
    refused(call("PUT", f"{path}/edit-key", key, edit_key="o" * 32), 404, "document_not_found")
    short = call("PUT", f"{path}/edit-key", new, edit_key="short")
    assert "edit_key has 5 characters" in refused(short, 400, "invalid_value")
    assert call("GET", path, new).status_code == 200


def test_readers_see_no_prompts(url: str) -> None:
    origin = {"model": "m", "model_hash": "h", "seed": 1, "settings": {"top_k": 5}, "index": 0}
    provenance = {**origin, "prompt": "deleted words", "text": "all of the suggestion"}
    spans = [{"text": "written", "by": "machine", "provenance": provenance, "draft": "private"}]
    path, key = made(url, title="t", spans=spans, notes="private")
    assert call("GET", path, key).json()["notes"] == "private"
    link = call("POST", f"{path}/share", key).json()["path"]
    shown = call("GET", f"{url}{link}/document").json()
    assert shown["spans"] == [{"text": "written", "by": "machine", "provenance": origin}]
    assert set(shown) == {"title", "spans", "revision", "created", "updated"}
    assert "deleted words" not in call("GET", f"{url}{link}").text


def test_half_a_surrogate_pair_is_kept(url: str) -> None:
    """A browser can send it: an emoji that was deleted by half."""
    text = '{"title": "\\ud83d", "spans": [{"text": "\\ud83d", "by": "human"}]}'
    headers = {"content-type": "application/json"}
    kept = CLIENT.post(f"{url}/documents", content=text, headers=headers)
    assert {name: kept.json()[name] for name in ("title", "spans")} == json.loads(text)
    path = f"{url}/documents/{kept.json()['id']}"
    link = call("POST", f"{path}/share", kept.json()["edit_key"]).json()["path"]
    shown = call("GET", f"{url}{link}/document").json()
    assert {name: shown[name] for name in ("title", "spans")} == json.loads(text)


def test_the_edit_key_is_needed(url: str) -> None:
    path, key = made(url)
    other, other_key = made(url)
    for wrong in ("", other_key, "a" * 32):
        for method, end, revision in (
            ("GET", "", None),
            ("PUT", "", 1),
            ("DELETE", "", None),
            ("POST", "/share", None),
            ("DELETE", "/share", None),
            ("PUT", "/edit-key", None),
            ("POST", "/verify", None),
        ):
            body = TEXT if revision else BODIES.get(end, {})
            refused(call(method, path + end, wrong, revision, **body), 404, "document_not_found")
    assert call("GET", path, key).json()["revision"] == 1
    assert call("GET", other, other_key).status_code == 200
    for name in ("no", "a%00b", "%F0%9F%98%80"):
        refused(call("GET", f"{url}/documents/{name}", key), 404, "document_not_found")


def test_share_links(url: str) -> None:
    path, key = made(url)
    link = call("POST", f"{path}/share", key).json()
    assert link["path"] == f"/share/{link['share_id']}"
    assert call("POST", f"{path}/share", key).json() == link
    shared = call("GET", f"{url}{link['path']}/document")
    assert {name: shared.json()[name] for name in TEXT} == TEXT
    assert set(shared.json()) == {*TEXT, "revision", "created", "updated"}, "no id, no key"
    assert call("GET", path, key).json()["share_id"] == link["share_id"]
    assert call("DELETE", f"{path}/share", key).status_code == 204
    message = refused(call("GET", f"{url}{link['path']}/document"), 404, "document_not_found")
    assert "may have been revoked" in message
    assert call("POST", f"{path}/share", key).json() != link


def test_wrong_bodies_and_headers(url: str) -> None:
    path, key = made(url)
    for body, message in (
        ('{"title": 5}', "title: input should be a valid string"),
        ('{"spans": [{"text": "a", "by": "nobody"}]}', "spans: input should be 'human'"),
        ('{"spans": [{"by": "human"}]}', "spans"),
        ('{"lens": NaN}', "cannot be kept as JSON: Out of range float values"),
        ("[]", "the body is wrong"),
    ):
        headers = {"edit-key": key, "if-match": "1", "content-type": "application/json"}
        response = CLIENT.put(path, content=body, headers=headers)
        assert response.status_code == 400, (body[:60], response.text[:500])
        assert message in response.json()["error"]["message"]
    for revision in ("", "*", '"x"', "-1", "1" * 30):
        headers = {"edit-key": key, "if-match": revision}
        wrong = CLIENT.put(path, json=TEXT, headers=headers)
        assert "allowed: the revision" in refused(wrong, 400, "invalid_value")
        assert wrong.json()["error"]["param"] == "If-Match"
    weak = CLIENT.put(path, json={"title": "b"}, headers={"edit-key": key, "if-match": 'W/"1"'})
    assert weak.json()["revision"] == 2


def test_the_size_of_a_document_is_limited() -> None:
    with pytest.raises(ValueError, match="at most 100000"):
        DocumentContent(spans=[SPAN] * (MAX_SPANS + 1))
    deep: list[Any] = []
    for _ in range(10_000):
        deep = [deep]
    with pytest.raises(RequestError, match="cannot be kept as JSON") as caught:
        DocumentContent.model_validate({"lens": deep}).as_json()
    assert "not deeply nested" in caught.value.hint


def test_documents_survive_the_server(small_folder: Path, database: str) -> None:
    with running({"small": small_folder}, documents=database) as url:
        path, key = made(url)
        before = call("GET", path, key).json()
    with running({"small": small_folder}, documents=database) as url:
        assert call("GET", f"{url}/documents/{before['id']}", key).json() == before


def test_a_full_disk(small_folder: Path, tmp_path: Path) -> None:
    file = tmp_path / "documents.sqlite3"
    with started({"small": small_folder}, documents=str(file)) as found:
        path, key = made(found.url)
        before = call("GET", path, key).json()
        store: DocumentStore = found.server.config.app.state.documents  # type: ignore[union-attr]
        with store._readers.connect() as connection:
            connection.exec_driver_sql("PRAGMA max_page_count = 1")  # not less than it has
        spans = [{"text": "a" * 10**6, "by": "human"}]
        large = call("PUT", path, key, 1, title="", spans=spans)
        assert "the disk is full" in refused(large, 507, "storage_failed")
        assert str(tmp_path) not in large.text
        assert call("GET", path, key).json() == before


def test_documents_may_be_larger_than_other_requests(small_folder: Path, tmp_path: Path) -> None:
    where = str(tmp_path / "documents.sqlite3")
    limits = {"max_body_bytes": 1024, "max_document_bytes": 4096}
    with running({"small": small_folder}, documents=where, **limits) as url:
        path, key = made(url, title="a" * 3000)
        assert call("GET", path, key).json()["title"] == "a" * 3000
        large = call("PUT", path, key, 1, title="a" * 5000)
        assert "higher --max-document-bytes" in refused(large, 413, "body_too_large")
        other = call("POST", f"{url}/v1/completions", prompt="a" * 3000)
        assert "higher --max-body-bytes" in refused(other, 413, "body_too_large")


class TestWithoutDocuments:
    def test_all_routes_say_so(self, server: Any) -> None:
        assert call("GET", f"{server.url}/documents").json() == {"kept": False}
        for method, end in (("POST", ""), ("GET", "/a"), ("DELETE", "/a"), ("POST", "/a/share")):
            body = TEXT if (method, end) == ("POST", "") else {}
            response = call(method, f"{server.url}/documents{end}", "key", **body)
            message = refused(response, 404, "document_not_found")
            assert "this server keeps no documents (start it without --no-documents)" in message


class TestAccess:
    def test_shared_documents_need_no_api_key(self, small_folder: Path, tmp_path: Path) -> None:
        where = str(tmp_path / "documents.sqlite3")
        headers = {"authorization": "Bearer secret"}
        with running({"small": small_folder}, documents=where, api_key="secret") as url:
            refused(call("POST", f"{url}/documents", **TEXT), 401, "invalid_api_key")
            made = CLIENT.post(f"{url}/documents", json=TEXT, headers=headers).json()
            headers["edit-key"] = made["edit_key"]
            path = f"{url}/documents/{made['id']}"
            refused(call("GET", path, made["edit_key"]), 401, "invalid_api_key")
            link = CLIENT.post(f"{path}/share", headers=headers).json()["path"]
            assert call("GET", f"{url}{link}/document").json()["title"] == TEXT["title"]
            assert "A story" in call("GET", f"{url}{link}").text
            # it computes: not for everybody
            verify = call("POST", f"{url}{link}/verify", span=1)
            refused(verify, 401, "invalid_api_key")

    def test_pages_of_other_origins_may_edit_if_allowed(
        self, small_folder: Path, tmp_path: Path
    ) -> None:
        settings = {
            "documents": str(tmp_path / "documents.sqlite3"),
            "allowed_origins": ["https://a.org"],
        }
        with running({"small": small_folder}, **settings) as url:
            asked = CLIENT.options(
                f"{url}/documents/a",
                headers={
                    "origin": "https://a.org",
                    "access-control-request-method": "PUT",
                    "access-control-request-headers": "edit-key, if-match",
                },
            )
            assert asked.status_code == 200, asked.text
            seen = CLIENT.get(f"{url}/documents", headers={"origin": "https://a.org"})
            assert seen.headers["access-control-expose-headers"] == "ETag"


class TestVerify:
    def written(self, url: str, **settings: Any) -> Fields:
        """A machine span, as the page makes it."""
        settings = {"max_tokens": 8, "temperature": 0.8, "n": 3, "surface": "readable", **settings}
        prompt, seed, index = settings.pop("prompt", "a bad cab"), 7, 1
        found = answer(url, prompt=prompt, seed=seed, **settings)["choices"][index]
        model_hash = call("GET", f"{url}/v1/models/small").json()["model_hash"]
        provenance = {
            "model": "small",
            "model_hash": model_hash,
            "prompt": prompt,
            "seed": seed,
            "settings": settings,
            "index": index,
            "created": 1.5,
        }
        return {"text": found["text"], "by": "machine", "provenance": provenance}

    def verified(self, url: str, spans: list[Fields], span: int = 0, **more: Any) -> httpx.Response:
        path, key = made(url, title="", spans=spans)
        return call("POST", f"{path}/verify", key, span=span, **more)

    def test_the_same_bytes(self, server_with_documents: str) -> None:
        url = server_with_documents
        human = {"text": "I say: ", "by": "human"}
        for settings in ({}, {"stream": False, "max_time": 60.0}, {"best_of": 4}, {"echo": True}):
            span = self.written(url, **settings)
            found = self.verified(url, [human, span], 1).json()
            assert found == {
                "result": "equal",
                "text": span["text"],
                "model": "small",
                "model_hash": span["provenance"]["model_hash"],
                "warnings": [],
            }
            assert found["text"]

    def test_a_part_and_a_forgery(self, server_with_documents: str) -> None:
        url = server_with_documents
        span = self.written(url)
        part = {**span, "text": span["text"][:5]}
        assert self.verified(url, [part]).json()["result"] == "part"
        for forged in (
            {**span, "text": span["text"] + " and more"},
            {**span, "provenance": {**span["provenance"], "seed": 8}},
            {**span, "provenance": {**span["provenance"], "index": 2}},
        ):
            found = self.verified(url, [forged]).json()
            assert found["result"] == "different"
            assert found["text"] != forged["text"]

    def test_prompts_in_parts(self, server_with_documents: str) -> None:
        """Offsets are JavaScript's: an emoji is two units, and a part may begin with half of it."""
        url = server_with_documents
        span = self.written(url, prompt="a bad \U0001f600 cab")

        def found(parts: Any) -> Any:
            provenance = {**span["provenance"], "prompt": {"parts": parts}}
            prompts = "bad \U0001f600 cab a "
            spans = [{**span, "provenance": provenance}]
            path, key = made(url, spans=spans, prompts=prompts)
            kept = call("GET", path, key).json()
            assert (kept["spans"], kept["prompts"]) == (spans, prompts)
            link = call("POST", f"{path}/share", key).json()["path"]
            assert "bad" not in call("GET", f"{url}{link}/document").text
            shown = CLIENT.post(f"{url}{link}").text
            result = call("POST", f"{path}/verify", key, span=0).json().get("result")
            assert ("1 of 1 underlined passages verified" in shown) == (result == "equal")
            return result

        assert found([[11, 2], [0, 5], [5, 5]]) == "equal"
        assert found([[11, 2], [0, 4], [6, 4]]) == "different"
        assert found([[11, 2], [0, 11]]) == "different"
        assert found([[11, 3]]) is None, "it is no request"
        assert found([[0, 10]] * 2**17) is None, "too long"
        path, key = made(url)
        for wrong in ([[0]], [[-1, 2]], [[0, 1, 2]], [["0", 1]]):
            provenance = {**span["provenance"], "prompt": {"parts": wrong}}
            spans = [{**span, "provenance": provenance}]
            refused(call("PUT", path, key, 1, spans=spans), 400, "invalid_value")

    def test_by_a_share_link(self, server_with_documents: str) -> None:
        url = server_with_documents
        path, key = made(url, spans=[self.written(url)])
        link = call("POST", f"{path}/share", key).json()["path"]
        found = call("POST", f"{url}{link}/verify", span=0).json()
        assert (found["result"], found["text"]) == ("equal", None)  # it may hold deleted words
        refused(call("POST", f"{url}/share/none/verify", span=0), 404, "document_not_found")

    def test_a_span_of_no_document(self, server: Any) -> None:
        span = self.written(server.url)
        found = call("POST", f"{server.url}/v1/verify", span=span).json()
        assert (found["result"], found["text"]) == ("equal", span["text"])
        forged = {**span, "text": "another"}
        assert call("POST", f"{server.url}/v1/verify", span=forged).json()["result"] == "different"
        human = call("POST", f"{server.url}/v1/verify", span={"text": "mine", "by": "human"})
        assert "the span is human text" in refused(human, 400, "invalid_value")

    def test_models(self, server_with_documents: str) -> None:
        url = server_with_documents
        span = self.written(url)
        renamed = {**span, "provenance": {**span["provenance"], "model": "of another server"}}
        found = self.verified(url, [renamed]).json()
        assert (found["result"], found["model"]) == ("equal", "small")
        for name in ("small", "default"):
            named = self.verified(url, [span], model=name).json()
            assert (named["result"], named["model"]) == ("equal", "small")
        other = {**span, "provenance": {**span["provenance"], "model_hash": "0" * 64}}
        found = self.verified(url, [other]).json()
        assert (found["result"], found["text"]) == ("other_model", None)
        assert found["model_hash"] == span["provenance"]["model_hash"]
        picked = {**span, "provenance": {**span["provenance"], "alternative": 2}}
        found = self.verified(url, [picked]).json()
        assert (found["result"], found["text"]) == ("chosen", None)
        wrong = self.verified(url, [span], model="none")
        assert "'none'; allowed: 'small'" in refused(wrong, 404, "model_not_found")

    def test_what_cannot_be_verified(self, server_with_documents: str) -> None:
        url = server_with_documents
        span = self.written(url)

        def other(**fields: Any) -> Fields:
            return {**span, "provenance": {**span["provenance"], **fields}}

        for wrong, message in (
            ({"text": "mine", "by": "human"}, "span 0 is human text"),
            ({"text": "its", "by": "machine"}, "span 0 is without provenance"),
            (other(index=3), "names the choice 3"),
            (other(settings={"max_tokens": 0, "echo": True}), "names the choice 1"),
            (other(settings={"temperature": "hot"}), "is no request: 'temperature'"),
            (other(settings={"max_tokens": 10**6}), "max_tokens is 1000000; allowed"),
        ):
            response = self.verified(url, [wrong])
            assert message in refused(response, 400, "invalid_value")
        outside = self.verified(url, [span], 5)
        assert "span is 5; allowed: below 1" in refused(outside, 400, "invalid_value")
        warned = self.verified(url, [span], colour="red").json()["warnings"]
        assert [each["code"] for each in warned] == ["fields-ignored"]
