"""A call of the admin API: what routes it, guards it, validates it and describes it, in one place."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any, NoReturn, TypeVar

from flask import Response, request
from pydantic import BaseModel, ValidationError

from provisioner.errors import RequestInvalid
from provisioner.event_models import path_of, problems
from provisioner.web.asked import Asked, Body, names
from provisioner.web.auth import Guard, Need
from provisioner.web.errors import BodyMalformed, as_json
from provisioner.web.fields import is_storable
from provisioner.web.models import Answer
from provisioner.web.origin import origin

MOST_BYTES = 64 * 1024
MOST_QUOTED = 40  # characters of a wrong value: enough to know it again

M = TypeVar("M", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class Call:
    """One call.

    :param path: with its variables in braces, as OpenAPI writes them.
    :param does: in a sentence.
    :param carry_out: is given the admin, what was asked, and the path's variables by their names.
    :param answers: the model of what it answers with `status`; `carry_out` may also make the response.
    :param asks: query parameters for a GET, a body for a POST.
    :param needs: how far the admin's role must reach.
    :param refuses: the statuses of errors beyond those that every call may have.
    :param most_bytes: how large a body may be.
    """

    method: str
    path: str
    does: str
    carry_out: Callable[..., Answer | Response]
    answers: type[Answer]
    asks: type[Asked] | type[Body] = Asked
    needs: Need = Need.LOOK
    status: int = 200
    refuses: Collection[int] = ()
    most_bytes: int = MOST_BYTES

    @property
    def name(self) -> str:
        return getattr(self.carry_out, "__name__", self.path)

    @property
    def takes_body(self) -> bool:
        return issubclass(self.asks, Body)

    def view(self, guard: Guard) -> Callable[..., Response]:
        """The call as Flask calls it: first who, then how far, then what."""

        def answer(**path: str) -> Response:
            admin = replace(guard.admitted(request.headers.get("Authorization", "")), origin=origin())
            admin.must_reach(self.needs)
            for name, value in path.items():
                if not is_storable(value):
                    raise RequestInvalid(f"{name} must have no NUL and no lone surrogate")
            found = self.carry_out(admin, self._asked(), **path)
            return found if isinstance(found, Response) else as_json(found.text(), self.status)

        return answer

    def _asked(self) -> BaseModel:
        query = request.args.to_dict(flat=False)
        if not self.takes_body:
            return judged(self.asks, {name: _once(name, values) for name, values in query.items()})
        judged(Asked, query)
        return judged(self.asks, _body(self.most_bytes))


def judged(model: type[M], given: Mapping[str, Any]) -> M:
    """What was given, as this model.

    :raises RequestInvalid: 422, with what is wrong and what would be right.
    """
    if model.model_config.get("extra") == "forbid":
        refuse_unknown(given, names(model))
    try:
        return model.model_validate(given)
    except ValidationError as error:
        raise RequestInvalid(problems(error, told=_quoted if issubclass(model, Asked) else None)) from None


def refuse_unknown(given: Collection[str], known: Collection[str]) -> None:
    """:raises RequestInvalid: a name is not among those that are known."""
    unknown = [path_of([name]) for name in given if name not in known]
    if unknown:
        right = f"there are {', '.join(known)}" if known else "there are none here"
        raise RequestInvalid(f"{', '.join(unknown[:5])}: no such field; {right}")


def _quoted(value: object) -> str:
    """A query's value, always a text, and in the address anyhow: as it is, in printable characters."""
    text = str(value)
    return ascii(text[:MOST_QUOTED]) + ("…" if text[MOST_QUOTED:] else "")


def _once(name: str, values: list[str]) -> str:
    if len(values) > 1:
        raise RequestInvalid(f"{path_of([name])} is given more than once")
    return values[0]


def _body(most_bytes: int) -> dict[str, Any]:
    """The body's object; none is an empty one, whatever content type was sent."""
    request.max_content_length = most_bytes
    raw = request.get_data(cache=False)
    if not raw:
        return {}
    try:
        body = json.loads(raw.decode(), parse_constant=_no_number)
    except (ValueError, RecursionError):
        raise BodyMalformed("the body is not JSON in UTF-8") from None
    if not isinstance(body, dict):
        raise RequestInvalid("the body is not a JSON object")
    if not all(map(is_storable, body)):
        raise RequestInvalid("a field's name must have no NUL and no lone surrogate")
    return body


def _no_number(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")
