"""The state diagram in docs/architecture.md, drawn from the engine's own table: run this file to print it."""

from __future__ import annotations

from twofa._engine.transitions import STATES, TABLE, Requirement


def state_diagram() -> str:
    """Return the diagram as mermaid text: an arrow for each pair of states, labelled with what leads from one to the other.

    Calls that stay in their state, or are refused, have no arrow.
    """
    lines = ["stateDiagram-v2", "    [*] --> none"]
    for state in STATES:
        for to in STATES:
            labels = [
                f"{name} (proof)" if row[state].requires is Requirement.PROOF else name
                for name, row in TABLE.items()
                if row[state].to == to != state
            ]
            if labels:
                lines.append(f"    {state} --> {to}: {'<br/>'.join(labels)}")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    print(state_diagram(), end="")
