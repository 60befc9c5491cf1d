"""The local page's server: HTTP around a workbench. Needs the extra `web`."""

from __future__ import annotations
