"""Arguments of the recall tool as a pydantic model, for frameworks that take no JSON schema."""

from __future__ import annotations

from pydantic import BaseModel, Field


class RecallArguments(BaseModel):
    """What to look up: one of question, turn_id and page."""

    question: str | None = Field(None, description="Words or a question to search the whole history for.")
    turn_id: str | None = Field(None, description="Id or place (#12) of one turn to read in full.")
    page: str | None = Field(None, description="Id of a page, as its label gives it.")
    line: int | None = Field(None, ge=1, description="Line on the page, counted from 1 at its top.")
    k: int = Field(5, ge=1, description="Most turns to return.")
    offset: int = Field(0, ge=0, description="First character to return of a long answer.")
