// A page that is opened as a file may start no worker: the search's runs in a hidden frame instead.
// Read by infra/mkdocs.yml in the place of the iframe-worker that the theme would fetch elsewhere.
if (location.protocol === "file:") {
  window.Worker = class extends EventTarget {
    constructor(url) {
      super();
      const address = new URL(url, location);
      const frame = document.createElement("iframe");
      frame.hidden = true;
      document.body.append(frame);
      const inside = (this.inside = frame.contentWindow);
      inside.document.open();
      inside.document.write(`<script>
        postMessage = (data) => parent.postMessage(data, "*");
        importScripts = (...urls) => Promise.all(urls.map((one) => new Promise((resolve) => {
          const script = document.createElement("script");
          script.src = new URL(one, "${address}");
          script.onload = resolve;
          document.body.append(script);
        })));
      </script><body><script src="${address}"></script>`);
      inside.document.close();
      this.ready = new Promise((resolve) => (inside.onload = resolve));
      addEventListener("message", (event) => {
        if (event.source === inside) {
          this.dispatchEvent(new MessageEvent("message", { data: event.data }));
        }
      });
    }

    postMessage(data) {
      this.ready.then(() => this.inside.dispatchEvent(new MessageEvent("message", { data })));
    }

    terminate() {}
  };
}
