"""Tuners that PEFT does not have: they enter it by its extension point, then save, load and disable like its own."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any, ClassVar

from harness.methods import Site
from harness.methods.tuner import Tuner


def register(name: str, config: type, model: Any) -> None:
    """Make a method known to PEFT as the type `NAME`. Once a process: at the import of the file that defines it.

    PEFT's `register_peft_method` wants a member of its `PeftType`, an enumeration, which Python lets nobody extend.
    """
    from peft import PeftType
    from peft.utils import register_peft_method

    member: Any = str.__new__(PeftType, name.upper())
    member._name_ = member._value_ = name.upper()
    setattr(PeftType, name.upper(), member)
    PeftType._member_names_.append(name.upper())
    PeftType._member_map_[name.upper()] = member
    PeftType._value2member_map_[name.upper()] = member
    register_peft_method(name=name, config_cls=config, model_cls=model, prefix=model.prefix)


class ExtensionTuner(Tuner):
    """A tuner of our own, set like those of PEFT."""

    layers: ClassVar[str]
    """The module that defines its layers and registers it; imported when the method is used, since it imports PEFT."""

    def config(self, model: Any, site: Site) -> Any:
        import_module(self.layers)
        return super().config(model, site)

    def load(self, model: Any, folder: Path) -> Any:
        import_module(self.layers)
        return super().load(model, folder)
