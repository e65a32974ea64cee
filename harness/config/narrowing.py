"""An override of a sweep that only some of its rows know goes to those: a rank to the methods that have one."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence

from hydra.core.config_loader import ConfigLoader
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.types import RunMode
from omegaconf import OmegaConf

from harness.config.compose import choices
from harness.config.validate import leaves
from harness.errors import UserError, nearest_key
from harness.notices import say
from harness.places import CONF

Row = tuple[str, ...]


def narrowed(rows: Mapping[Row, int], more: Sequence[str], loader: ConfigLoader) -> dict[Row, int]:
    """The rows without those of the overrides `more`, given for all of them, that are settings of something else than
    what a row has (`method.rank` of a method without a rank), each with the number of its grid; a line says which.
    Raises UserError where no row knows a setting."""
    parsed = OverridesParser.create(config_loader=loader).parse_overrides(list(more))
    given = {each.get_key_element() for each in parsed if "." in each.get_key_element().lstrip("+~")}
    # Rows differ in what the files of groups bring; sections such as `train` are the same for all.
    given = {key for key in given if key[0] not in "+~" and (CONF / key.partition(".")[0]).is_dir()}
    given = {key for key in given if not key.endswith("_target_")}
    if not given or len(rows) < 2:
        return dict(rows)
    known = _known_by_choices(loader)
    lacks = {row: {key for key in given if not _has(known(choices(row)), key)} for row in rows}
    if by_none := sorted(set.intersection(*lacks.values())):
        there = sorted({key for row in rows for key in known(choices(row))})
        raise UserError(*(f"{key}: no row has such a setting; {nearest_key(key, there)}" for key in by_none))
    found: dict[Row, int] = {}
    for row, number in rows.items():
        found.setdefault(tuple(word for word in row if word.partition("=")[0] not in lacks[row]), number)
    for key in sorted(set.union(*lacks.values())):
        group = key.partition(".")[0]
        without = dict.fromkeys(
            word for row in rows if key in lacks[row] for word in row if word.startswith(f"{group}=")
        )
        say(f"{key}: rows of {', '.join(without) or 'some choices'} have no such setting and stay as they are")
    return found


def _has(known: frozenset[str], key: str) -> bool:
    """Whether a key is one of those, or a group of them."""
    return any(each == key or each.startswith(f"{key}.") for each in known)


def _known_by_choices(loader: ConfigLoader) -> Callable[[Row], frozenset[str]]:
    """Gives the dotted keys that choices compose."""

    @functools.cache
    def known(choices: Row) -> frozenset[str]:
        config = loader.load_configuration("config", list(choices), RunMode.RUN)
        groups = OmegaConf.masked_copy(config, [str(name) for name in config if name != "hydra"])
        return frozenset(leaves(OmegaConf.to_container(groups, resolve=False)))

    return known
