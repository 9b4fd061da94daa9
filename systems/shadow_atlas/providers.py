"""The upstream services that Shadow Atlas's documents name, their contradictions resolved in one place."""

from __future__ import annotations

from collections.abc import Mapping

from systems.shadow_atlas.settings import Provider

CONGRESSIONAL_LAYER = 54
"""Layer of the congressional districts in TIGERweb's current map. The documents say 17 and the code asks 54:
what must answer is what the extraction reads, so the code's holds."""

_TIGERWEB = "https://tigerweb.geo.census.gov/arcgis/rest/services/TIGERweb/tigerWMS_Current/MapServer"

# ArcGIS answers errors with status 200 and says so only in JSON, so `f=json` is added where the documents ask
# for the page. They give 5 s (health-check script) and 10 s (provider check): 10 s, so that one slow answer
# is no outage.
_DOCUMENTED = (
    Provider(name="census-tigerweb", url=f"{_TIGERWEB}?f=json", tier="national", json=True),
    Provider(
        name="census-congressional",
        url=f"{_TIGERWEB}/{CONGRESSIONAL_LAYER}?f=json",
        tier="national",
        json=True,
    ),
    Provider(name="arcgis-hub", url="https://hub.arcgis.com", tier="national"),
    Provider(name="arcgis-hub-api", url="https://hub.arcgis.com/api/v3/datasets", tier="national", json=True),
    Provider(
        name="arcgis-online",
        url="https://www.arcgis.com/sharing/rest/info?f=json",
        tier="national",
        json=True,
    ),
    Provider(name="colorado", url="https://gis.colorado.gov/arcgis/rest/services?f=json", json=True),
    Provider(name="wisconsin", url="https://geodata.wisc.edu"),
    Provider(name="minnesota", url="https://gisdata.mn.gov"),
    # A region abroad weighs as much as a state. Its British counterpart is documented without its path and
    # left out.
    Provider(name="canada", url="https://represent.opennorth.ca"),
)

RETIRED: Mapping[str, str] = {
    "https://cloudflare-ipfs.com": "its operator ended the gateway in 2024",
    "https://api.w3s.link": "Storacha was sunset on 2026-05-02",
}
"""Documented addresses that no sweep should ask any more, with the reason."""

GATEWAYS = ("https://w3s.link", "https://ipfs.io", "https://dweb.link", "https://gateway.pinata.cloud")
"""Documented IPFS gateways whose operators have not said that they end."""

STATUS_PAGES: Mapping[str, str] = {
    "Esri": "https://status.arcgis.com/",
    "Census Bureau": (
        "https://www.census.gov/about/policies/privacy/data_stewardship/operational_environment.html"
    ),
    "Storacha": "https://status.w3s.link/",
}
"""Pages for people; a sweep does not read them."""

STATES: Mapping[str, str] = {
    "AL": "alabama", "AK": "alaska", "AZ": "arizona", "AR": "arkansas", "CA": "california", "CO": "colorado",
    "CT": "connecticut", "DE": "delaware", "FL": "florida", "GA": "georgia", "HI": "hawaii", "ID": "idaho",
    "IL": "illinois", "IN": "indiana", "IA": "iowa", "KS": "kansas", "KY": "kentucky", "LA": "louisiana",
    "ME": "maine", "MD": "maryland", "MA": "massachusetts", "MI": "michigan", "MN": "minnesota",
    "MS": "mississippi", "MO": "missouri", "MT": "montana", "NE": "nebraska", "NV": "nevada",
    "NH": "new-hampshire", "NJ": "new-jersey", "NM": "new-mexico", "NY": "new-york", "NC": "north-carolina",
    "ND": "north-dakota", "OH": "ohio", "OK": "oklahoma", "OR": "oregon", "PA": "pennsylvania",
    "RI": "rhode-island", "SC": "south-carolina", "SD": "south-dakota", "TN": "tennessee", "TX": "texas",
    "UT": "utah", "VT": "vermont", "VA": "virginia", "WA": "washington", "WV": "west-virginia",
    "WI": "wisconsin", "WY": "wyoming",
}  # fmt: skip
"""The 50 states: postal code to the name of the state's portal."""


def documented() -> tuple[Provider, ...]:
    """Every provider of the operations documents that can still be asked."""
    return _DOCUMENTED
