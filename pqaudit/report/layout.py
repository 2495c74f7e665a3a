"""Lines of findings taken apart by the database, which reads JSON many times faster than Python.

It takes only what is laid out as pqaudit writes findings, so that nothing can be read in two ways: every name once and
none that is unknown, and parts that are the same in many findings as text, which Python then judges once for all of
them. Every other line is left to Python; what can be read there counts the same.
"""

from __future__ import annotations

from collections.abc import Iterable

_LONGEST_ID = 512  # as pqaudit.finding.shape has it
_TEXT = r'"(?:[^"\\]|\\.)*"'
_NUMBER = r"(?:0|[1-9]\d{0,17})"
_TIME = r"\d{4}-\d\d-\d\dT(?:[01]\d|2[0-3]):[0-5]\d:[0-5]\d(?:\.\d{1,9})?Z"
_SPI = r'"[0-9a-f]{16}"'


def _list(item: str) -> str:
    return rf"\[(?:{item}(?:,{item})*)?\]"


_FRAME = rf'"file":{_TEXT},"frame":{_NUMBER}'
_EVENT = (
    rf'\{{"id":"([^"\\]+)","start":"{_TIME}","end":"({_TIME})","kind":"state","category":\["network"\],'
    rf'"type":\["info"\],"module":"pqaudit","dataset":"pqaudit\.sa","severity":{_NUMBER}\}}'
)
_END = r'\{"ip":"([0-9A-Fa-f.:]{2,45})","port":(\d{1,5})\}'
_IKE = rf'\{{"version":"([^"\\]*)","initiator_spi":{_SPI},"responder_spi":(?:null|{_SPI})\}}'
_OBSERVED = (
    rf'\{{"exchanges":(\{{"[A-Za-z0-9_ -]+":{_NUMBER}(?:,"[A-Za-z0-9_ -]+":{_NUMBER})*\}}|\{{\}}),'
    rf'"ike_sa_init_retries":{_NUMBER},"ike_intermediate_by_message_id":(?:null|{_NUMBER})\}}'
)
_OTHER_SA = rf'\{{"initiator_spi":{_SPI},"responder_spi":{_SPI},"inferred":true,{_FRAME}\}}'
_ORIGIN = rf'\{{"probably_rekeyed_from":(null|{_OTHER_SA})\}}'
_EVIDENCE = _list(rf'\{{{_FRAME},"time":"{_TIME}","what":{_TEXT}\}}')
_FRAMES = _list(rf"\{{{_FRAME}\}}")
_ANOMALIES = _list(rf'\{{"id":{_TEXT},"frames":{_FRAMES}\}}')
_SHARE = rf'\{{"name":{_TEXT},"packets":{_NUMBER},"first_frame":{_NUMBER},"last_frame":{_NUMBER}\}}'
_CAPTURE = rf'\{{"packets":{_NUMBER},"files":{_list(_SHARE)},"observers":{_list(_TEXT)}\}}'
# Whether an exchange was seen counts, not how often; numbers that a finding may not hold stay as they are.
_OFTEN = r":[1-9]\d{0,3}([,}])"

_TOP = ("@timestamp", "event", "source", "destination", "network", "observer", "rule", "pqaudit")
_OWN = (
    "schema_version",
    "verdict",
    "protection",
    "reason",
    "assurance",
    "ike",
    "selected",
    "offered",
    "observed",
    "ppk",
    "fingerprint",
    "advice",
    "deviations",
    "observations",
    "weaknesses",
    "capabilities",
    "responsibility",
    "related",
    "anomalies",
    "evidence",
    "capture",
    "record",
)
_WITHOUT_RECORD = _OWN[:-1]  # a finding without its evidence is read too
# Nobody reads these here; that they are JSON is enough.
_UNREAD = ("network", "advice", "capabilities", "record")

# The database takes a comma behind the last member for JSON, and NaN for a number; only what nobody reads here could
# hide one.
_COMMA = r",\s*[\]}]"

# Parts that Python judges, in the order in which their texts are put together, one a line.
CASE_PARTS = (
    *("schema_version", "verdict", "reason", "protection", "assurance", "ppk", "responsibility"),
    *("selected", "deviations", "weaknesses"),
    *("ike.version", "observed.exchanges", "related.probably_rekeyed_from"),
)
REST_PARTS = ("observer", "rule", "offered", "observations")


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _quoted_list(texts: Iterable[str]) -> str:
    return "[" + ", ".join(map(_quoted, texts)) + "]"


_PATHS = [f'$."{name}"' for name in _TOP[:-1] if name not in _UNREAD]
_PATHS += [f"$.pqaudit.{name}" for name in _OWN if name not in _UNREAD]
_PLACES = {path.removeprefix("$.pqaudit.").strip('$."'): place for place, path in enumerate(_PATHS, 1)}


def _part(name: str) -> str:
    return f"p[{_PLACES[name]}]"


def _together(parts: Iterable[str]) -> str:
    return " || chr(10) || ".join(parts)


_CASE = _together([*map(_part, CASE_PARTS[:-3]), "'\"' || version || '\"'", "exchanges", "origin"])

COLUMNS = {
    "number": "BIGINT",
    "certain": "BOOLEAN",
    "id": "BLOB",
    "begun": "VARCHAR",
    "ended": "VARCHAR",
    "source": "VARCHAR",
    "source_port": "INTEGER",
    "destination": "VARCHAR",
    "destination_port": "INTEGER",
    "case_text": "VARCHAR",
    "rest_text": "VARCHAR",
    "maker_text": "VARCHAR",
    "evidence": "VARCHAR",
    "captures": "VARCHAR[]",
}
"""Of lines taken apart. Names of captures are JSON text, as some are no text at all."""

# Of lines that are no JSON nothing may be extracted; to ask of every line takes time, so it is done only when needed.
_EXTRACTED = f"json_extract(line, {_quoted_list(_PATHS)})::VARCHAR[]"
_KEYS = "json_keys(line, ['$', '$.pqaudit'])"


def take_apart(valid: bool) -> str:
    """A query that takes lines apart; its parameter is the list of them.

    Its columns are `COLUMNS`. What is not ``certain`` is to be read by Python.

    Args:
        valid: all lines are taken to be JSON; the query fails where one is not.
    """
    extracted, keys = _EXTRACTED, _KEYS
    if not valid:
        extracted, keys = (f"CASE WHEN json_valid(line) THEN {what} END" for what in (extracted, keys))
    names = ", ".join(f"[{_quoted_list(_TOP)}, {_quoted_list(own)}]" for own in (_OWN, _WITHOUT_RECORD))
    return f"""
        WITH lines AS (
            SELECT unnest(list) AS line, generate_subscripts(list, 1) AS number FROM (SELECT $1::VARCHAR[] AS list)
        ), parts AS (
            SELECT number, line, {extracted} AS p, {keys} AS k FROM lines
        ), taken AS (
            SELECT number, line, p, k,
                regexp_extract({_part("event")}, {_quoted(f"^{_EVENT}$")}, ['id', 'ended']) AS event,
                regexp_extract({_part("source")}, {_quoted(f"^{_END}$")}, ['ip', 'port']) AS source,
                regexp_extract({_part("destination")}, {_quoted(f"^{_END}$")}, ['ip', 'port']) AS destination,
                regexp_extract({_part("ike")}, {_quoted(f"^{_IKE}$")}, 1) AS version,
                regexp_replace(regexp_extract({_part("observed")}, {_quoted(f"^{_OBSERVED}$")}, 1),
                    {_quoted(_OFTEN)}, ':1\\1', 'g') AS exchanges,
                regexp_extract({_part("related")}, {_quoted(f"^{_ORIGIN}$")}, 1) AS origin_found
            FROM parts
        ), judged AS (
            SELECT *, CASE WHEN origin_found = 'null' THEN 'null' ELSE '{{}}' END AS origin,
                coalesce(NOT regexp_matches(line, {_quoted(_COMMA)}) AND k IN ({names})
                    AND regexp_full_match({_part("@timestamp")}, {_quoted(f'"{_TIME}"')})
                    AND length(event.id) BETWEEN 1 AND {_LONGEST_ID} AND source.ip != '' AND destination.ip != ''
                    AND try_cast(source.port AS INTEGER) <= 65535 AND try_cast(destination.port AS INTEGER) <= 65535
                    AND regexp_full_match({_part("ike")}, {_quoted(_IKE)}) AND exchanges != '' AND origin_found != ''
                    AND regexp_full_match({_part("evidence")}, {_quoted(_EVIDENCE)})
                    AND regexp_full_match({_part("anomalies")}, {_quoted(_ANOMALIES)})
                    AND regexp_full_match({_part("capture")}, {_quoted(_CAPTURE)}), false) AS certain
            FROM taken
        )
        SELECT number::BIGINT AS number, certain,
            encode(event.id) AS id, json_extract_string({_part("@timestamp")}, '$') AS begun, event.ended AS ended,
            source.ip AS source, try_cast(source.port AS INTEGER) AS source_port,
            destination.ip AS destination, try_cast(destination.port AS INTEGER) AS destination_port,
            {_CASE} AS case_text, {_together(map(_part, REST_PARTS))} AS rest_text,
            {_part("fingerprint")} AS maker_text,
            {_part("evidence")} AS evidence, json_extract({_part("capture")}, '$.files[*].name')::VARCHAR[] AS captures
        FROM judged
    """
