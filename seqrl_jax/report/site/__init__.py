"""A static site about records: pages that link to one another, and load nothing from elsewhere."""

from seqrl_jax.report.site.sheet import Sheet, sheets
from seqrl_jax.report.site.write import INDEX, write_site

__all__ = ["INDEX", "Sheet", "sheets", "write_site"]
