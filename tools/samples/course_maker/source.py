"""The dialect that the course's sources are written in: Markdown with one block per line.

    # Title         ## Section        paragraph        - bullet        1. numbered        > speaker's note
    | a | b |       a table: one row per line, the row of dashes after the first one is left out
    ```group        one box of a grouped picture per line;  any other ``` is a listing
    ---             a new page;  ---columns--- a new page of two columns
"""

import re
from dataclasses import dataclass, field


@dataclass
class Block:
    """One block: `kind` is heading, paragraph, bullet, number, note, table, group, code or page."""

    kind: str
    text: str = ""
    level: int = 0
    rows: list = field(default_factory=list)


def read(path):
    """The blocks of a source file, in order."""
    blocks, fence = [], None
    for line in path.read_text("utf-8").splitlines():
        if fence is not None:
            if line == "```":
                blocks.append(fence)
                fence = None
            else:
                fence.rows.append(line)
        elif line.startswith("```"):
            fence = Block("group" if line == "```group" else "code")
        elif line.strip():
            add(blocks, line)
    if fence is not None:
        raise ValueError(f"{path}: a listing is not closed")
    return blocks


def add(blocks, line):
    if match := re.fullmatch(r"(#+) (.+)", line):
        blocks.append(Block("heading", match[2], len(match[1])))
    elif line in ("---", "---columns---"):
        blocks.append(Block("page", "columns" if "columns" in line else ""))
    elif line.startswith("|"):
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if not blocks or blocks[-1].kind != "table":
            blocks.append(Block("table"))
        if not all(re.fullmatch("-+", cell) for cell in cells):
            blocks[-1].rows.append(cells)
    elif match := re.fullmatch(r"(- |\d+\. |> )(.+)", line):
        kind = {"-": "bullet", ">": "note"}.get(match[1][0], "number")
        blocks.append(Block(kind, match[2]))
    else:
        blocks.append(Block("paragraph", line))


def by_heading(blocks):
    """Groups of a heading and what follows it, up to the next heading of any level."""
    groups = []
    for block in blocks:
        if block.kind == "heading":
            groups.append((block, []))
        elif groups:
            groups[-1][1].append(block)
        else:
            raise ValueError("a source begins with a heading")
    return groups
