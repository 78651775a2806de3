"""Snakemake's log file is UTF-8 too, whatever the locale: it names folders, which may have any names."""

import logging

from snakemake.logging import logger

for handler in logger.handlers:
    if isinstance(handler, logging.FileHandler) and handler.stream:
        handler.stream.reconfigure(encoding="utf-8", errors="surrogateescape")
