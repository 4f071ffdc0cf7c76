"""The forms that are read, in the order in which they are tried, and finding one by its name."""

from __future__ import annotations

from tasks.data.sources.forms.compared import COMPARED_FORMS
from tasks.data.sources.forms.form import Form
from tasks.data.sources.forms.labelled import LABELLED_FORMS
from tasks.data.sources.forms.pairs import PAIR_FORMS
from tasks.data.sources.forms.ranked import RANKED_FORMS
from tasks.data.sources.forms.uncompared import UNCOMPARED_FORMS
from tasks.settings.errors import ConfigError, did_you_mean

FORMS: dict[str, Form] = {
    **RANKED_FORMS,
    **COMPARED_FORMS,
    **PAIR_FORMS,
    **LABELLED_FORMS,
    **UNCOMPARED_FORMS,
}
"""Every form that is read, by name; the first that a row has is taken, so the fuller come first."""


def require_format(name: str) -> Form:
    """Return a form by its name.

    Raises:
        ConfigError: There is none; the known ones are listed.
    """
    if name not in FORMS:
        raise ConfigError(f"unknown data format {name!r}{did_you_mean(name, ['auto', *FORMS])}")
    return FORMS[name]
