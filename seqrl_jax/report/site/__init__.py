"""A static site about records: pages that link to one another, and load nothing from elsewhere."""

from seqrl_jax.report.site.audited import NOTHING, is_audit, read_audit
from seqrl_jax.report.site.overoptimised import NOT_MEASURED, read_overoptimised
from seqrl_jax.report.site.sheet import Sheet, sheets, sources
from seqrl_jax.report.site.write import INDEX, SiteError, write_site

__all__ = [
    "INDEX",
    "NOTHING",
    "NOT_MEASURED",
    "Sheet",
    "SiteError",
    "is_audit",
    "read_audit",
    "read_overoptimised",
    "sheets",
    "sources",
    "write_site",
]
