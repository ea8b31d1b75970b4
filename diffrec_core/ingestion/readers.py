"""Opening a raw file with the reader of its format: three formats, one result.

Batches of `source_row`, `problem` and the mapped fields as texts. What the texts mean is
`validation`'s business; a row that cannot even be taken apart has its `problem` set and goes on,
to be rejected there with all others.
"""

from diffrec_core.ingestion.delimited import DelimitedReader
from diffrec_core.ingestion.jsonl import JsonReader
from diffrec_core.ingestion.layout import LogFormat
from diffrec_core.ingestion.parquet import ParquetReader
from diffrec_core.ingestion.raw_manifest import RawFile
from diffrec_core.ingestion.raw_rows import Columns, Reader, Source


def open_log(
    file: RawFile,
    layout: LogFormat,
    columns: Columns,
    section: str = "ingest",
    timezone: str | None = None,
) -> Reader:
    """Look at the beginning of a raw file.

    Args:
        file: what to read.
        layout: its format.
        columns: our name -> its column; the batches have one column per name.
        section: of params.yaml, named in errors.
        timezone: of typed times without one.

    Raises:
        ConfigError: a column does not exist; says which there are and which is nearest.
        DataError: the file is gone, not of this format, or damaged where it was looked at.
    """
    source = Source(file.path, section)
    if layout.format == "jsonl":
        return JsonReader(file, layout, columns, source)
    if layout.format == "parquet":
        return ParquetReader(file, columns, source, timezone)
    return DelimitedReader(file, layout, columns, source)
