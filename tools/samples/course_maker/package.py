"""Office packages with the same bytes in every run: what their libraries write carries the time of day."""

import datetime
import io
import zipfile

# No later than anything that reads it, and a time that a zip file can hold.
WRITTEN = datetime.datetime(2026, 1, 1)
AUTHOR = "bilin"


def sign(document, title, language):
    """Fixes the properties that python-pptx and python-docx otherwise fill with the present time."""
    properties = document.core_properties
    properties.title, properties.author, properties.last_modified_by = title, AUTHOR, AUTHOR
    properties.language, properties.comments, properties.revision = language, "", 1
    properties.created = properties.modified = WRITTEN


def packed(document):
    """The document's package, its members in the order written and with one fixed time."""
    written, again = io.BytesIO(), io.BytesIO()
    document.save(written)
    with zipfile.ZipFile(written) as source, zipfile.ZipFile(again, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as target:
        for name in source.namelist():
            member = zipfile.ZipInfo(name, WRITTEN.timetuple()[:6])
            member.compress_type = zipfile.ZIP_DEFLATED
            target.writestr(member, source.read(name))
    return again.getvalue()
