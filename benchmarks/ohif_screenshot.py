"""A study and its results in a real OHIF, in front of an Orthanc that holds them: the picture of docs/pacs.md.

    npm pack @ohif/app && tar xzf ohif-app-*.tgz
    python benchmarks/ohif_screenshot.py --ohif package/dist --orthanc URL --study UID --out ohif.png --scroll 19

Serves OHIF and Orthanc's DICOMweb under one origin, opens the study in segmentation mode, loads the SEG, and takes
a picture with Chromium. Where there is no GPU, Chromium draws with SwiftShader.
"""

from __future__ import annotations

import argparse
import http.client
import sys
import threading
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))
from support.chromium import Page

CONFIG = """window.config = {
  routerBasename: "/", extensions: [], modes: [], showStudyList: true, investigationalUseDialog: {option: "never"},
  defaultDataSourceName: "here",
  dataSources: [{
    namespace: "@ohif/extension-default.dataSourcesModule.dicomweb", sourceName: "here", configuration: {
    friendlyName: "here", name: "here", qidoRoot: "/dicom-web", wadoRoot: "/dicom-web", wadoUriRoot: "/dicom-web",
    qidoSupportsIncludeField: false, supportsReject: false, imageRendering: "wadors", thumbnailRendering: "wadors",
    enableStudyLazyLoad: true, supportsFuzzyMatching: false, supportsWildcard: true,
    omitQuotationForMultipartRequest: true, bulkDataURI: {enabled: true}}}]};"""


PAUSE = "new Promise(done => setTimeout(done, 5000))"  # nothing says when all is drawn
CLICK_YES = """[...document.querySelectorAll('button')]
  .filter(item => item.innerText == 'Yes').forEach(item => item.click())"""
OPEN = """(() => {
  const all = [...document.querySelectorAll('[data-cy^="study-browser-thumbnail"]')];
  const found = all.find(item => item.innerText.split('\\n').includes('%s'));
  for (const target of [found.querySelector('*') || found, found])
    target.dispatchEvent(new MouseEvent('dblclick', {bubbles: true, cancelable: true}));
})()"""


def open_series(page: Page, modality: str) -> None:
    """Double-click a series in the list of the study."""
    page.run(OPEN % modality)
    page.run(PAUSE)


def serve(dist: Path, orthanc: str) -> ThreadingHTTPServer:
    """OHIF, its configuration, and Orthanc's DICOMweb."""
    there = urlsplit(orthanc)

    class Handler(SimpleHTTPRequestHandler):
        def __init__(self, *args: object) -> None:
            super().__init__(*args, directory=str(dist))  # type: ignore[arg-type]

        def do_GET(self) -> None:
            path = self.path.partition("?")[0]
            if path.startswith("/dicom-web"):
                self._pass_on()
            elif path == "/app-config.js":
                self._answer(200, "text/javascript", CONFIG.encode())
            else:
                if not (dist / path.lstrip("/")).is_file():
                    self.path = "/index.html"
                super().do_GET()

        def _pass_on(self) -> None:
            link = http.client.HTTPConnection(there.hostname or "", there.port, timeout=60)
            # With the Host of the page: addresses of pixels are made of it.
            names = ("Accept", "Host")
            link.request("GET", self.path, headers={k: self.headers[k] for k in names if k in self.headers})
            answer = link.getresponse()
            self._answer(answer.status, answer.getheader("Content-Type") or "", answer.read())
            link.close()

        def _answer(self, status: int, kind: str, body: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def end_headers(self) -> None:
            self.send_header("Cross-Origin-Opener-Policy", "same-origin")
            self.send_header("Cross-Origin-Embedder-Policy", "require-corp")
            super().end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


def main() -> None:
    """Take the picture."""
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("--ohif", "--orthanc", "--study", "--out"):
        parser.add_argument(name, required=True)
    parser.add_argument("--label", default="", help="a label's name, which shows that the SEG is loaded")
    parser.add_argument("--scroll", type=int, default=0, help="slices to go forward")
    options = parser.parse_args()
    server = serve(Path(options.ohif), options.orthanc)
    with Page(1500, 850) as page:
        page.open(f"http://127.0.0.1:{server.server_address[1]}/segmentation?StudyInstanceUIDs={options.study}")
        page.wait("document.querySelectorAll('canvas').length > 0 && document.body.innerText.includes('SEG')")
        open_series(page, "OT")
        open_series(page, "SEG")
        if options.label:
            page.wait(f"document.body.innerText.includes({options.label!r})")
        page.run(CLICK_YES)
        page.run(PAUSE)
        for _ in range(options.scroll):
            page.scroll(500, 300, 100)
        page.run(PAUSE)
        page.screenshot(Path(options.out))
    server.shutdown()


if __name__ == "__main__":
    main()
