"""`python docs/rooms.py` prints the diagram of docs/architecture.md: rooms of the harness, and who imports whom.

An arrow that a longer way over other rooms stands for too is left out, so that the diagram can be read.
"""

from __future__ import annotations

import grimp
import networkx

ROOTS = {"api", "errors", "files", "limits", "network", "notices", "places", "quiet", "settings", "texts"}
"""Files beside the rooms, which everything may import: not drawn."""


def mermaid(package: str) -> str:
    """The diagram of a package's rooms, as a mermaid flowchart."""
    graph = grimp.build_graph(package)
    rooms = {name.removeprefix(f"{package}.") for name in graph.find_children(package)} - ROOTS
    arrows = networkx.DiGraph()
    for room in sorted(rooms):
        module = f"{package}.{room}"
        for other in sorted(rooms - {room}):
            if graph.direct_import_exists(importer=module, imported=f"{package}.{other}", as_packages=True):
                arrows.add_edge(room, other)
    reduced = networkx.transitive_reduction(arrows)
    lines = [f"    {one} --> {other}" for one, other in sorted(reduced.edges)]
    return "\n".join(["```mermaid", "flowchart TD", *lines, "```"])


if __name__ == "__main__":
    print(mermaid("harness"))
    print(mermaid("reports"))
