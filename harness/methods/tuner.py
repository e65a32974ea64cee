"""Any tuner of PEFT, chosen and set by a file in conf/method/."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field, ValidationInfo, field_validator

from harness.errors import UserError, first_line, nearest
from harness.methods import Method, Site
from harness.models.roles import above_smaller_side

Rank = Annotated[int, Field(ge=1, le=65536)]
"""Inner dimension of a product; no layer of any model is wider than the upper limit."""


class Tuner(Method):
    """A method of PEFT: `peft` names its type, `options` are fields of its configuration."""

    lr: Annotated[float, Field(gt=0)]
    peft: str
    """A member of PEFT's `PeftType`."""
    options: dict[str, Any] = Field(default_factory=dict)
    rank: Rank | None = None
    """Absent from the file of a method that has none; `options` names PEFT's field for it."""

    @field_validator("rank")
    @classmethod
    def _is_used(cls, rank: int | None, info: ValidationInfo) -> int | None:
        # A subclass that requires a rank uses it itself.
        optional = not cls.model_fields["rank"].is_required()
        if rank is not None and optional and rank not in info.data.get("options", {}).values():
            raise ValueError(f"{info.data.get('name')} has no rank; leave it out")
        return rank

    @property
    def rewrites(self) -> bool:
        return super().rewrites or "init_lora_weights" in self.options

    def label(self) -> str:
        name = super().label()
        return name if self.rank is None else f"{name} r={self.rank}"

    def fields(self, model: Any, site: Site) -> dict[str, Any]:
        """The fields of PEFT's configuration for this model and site."""
        options: dict[str, Any] = {"task_type": site.task_type, **self.options}
        if self.adapts_modules:
            options["target_modules"] = site.modules
        return options

    def config(self, model: Any, site: Site) -> Any:
        """PEFT's configuration. Raises UserError for a field that it does not have or refuses."""
        from peft import PeftType
        from peft.mapping import PEFT_TYPE_TO_CONFIG_MAPPING

        kind: Any = PEFT_TYPE_TO_CONFIG_MAPPING[PeftType(self.peft)]
        fields = self.fields(model, site)
        if unknown := sorted(set(fields) - set(kind.__dataclass_fields__)):
            known = sorted(kind.__dataclass_fields__)
            raise UserError(
                *(
                    f"method.options.{name}: {kind.__name__} has no such field; {nearest(name, known)}"
                    for name in unknown
                )
            )
        try:
            return kind(**fields)
        except (ValueError, TypeError) as error:
            raise UserError(f"method={self.name}: PEFT refuses its options ({first_line(error)})") from None

    def warnings(self, model: Any, site: Site) -> list[str]:
        above = [] if self.rank is None else above_smaller_side(model, site.targets, self.rank)
        # Experts that an option names are not left out.
        return above if "target_parameters" in self.options else super().warnings(model, site) + above

    def apply(self, model: Any, site: Site) -> Any:
        import warnings

        from peft import get_peft_model

        self.ready(model, site.modules)
        config = self.config(model, site)
        try:
            with warnings.catch_warnings():
                # A block size that does not divide a width would be replaced by another one, with a warning.
                warnings.filterwarnings("error", message=r"Invalid .* Adjusted", category=UserWarning)
                return get_peft_model(model, config)
        except (ValueError, TypeError, NotImplementedError, UserWarning) as error:
            raise UserError(f"method={self.name}: PEFT cannot apply it here ({first_line(error)})") from None
