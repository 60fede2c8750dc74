"""People who read by ear or work by key: axe finds nothing serious, on every tab, theme and width."""

from __future__ import annotations

from typing import Any

import pytest

from dashboard.app import TABS
from tests.dashboard.conftest import Visits

pytestmark = [pytest.mark.browser, pytest.mark.slow]
SERIOUS = ("serious", "critical")
SETTLED = """() => new Promise((done) => {
  let timer = setTimeout(done, 400);
  const observer = new MutationObserver(() => { clearTimeout(timer); timer = setTimeout(done, 400); });
  observer.observe(document.body, {childList: true, subtree: true, attributes: true});
  setTimeout(done, 4000);
})"""


@pytest.mark.parametrize(("theme", "width"), [("light", 1400), ("dark", 420)])
def test_nothing_serious_is_in_the_way(visits: Visits, theme: str, width: int) -> None:
    from axe_playwright_python.sync_playwright import Axe

    tab, found = visits(theme, width).tab, []
    for name, _ in TABS:
        tab.get_by_role("tab", name=name).click()
        tab.get_by_role("tab", name=name, selected=True).wait_for()
        tab.evaluate(SETTLED)
        found += [(name, one["id"], _where(one)) for one in Axe().run(tab).response["violations"] if _counts(one)]
    assert found == []


def _counts(violation: dict[str, Any]) -> bool:
    return violation["impact"] in SERIOUS


def _where(violation: dict[str, Any]) -> list[str]:
    return [node["html"][:200] for node in violation["nodes"][:5]]
