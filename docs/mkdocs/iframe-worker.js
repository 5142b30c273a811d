// Search in pages opened from disk, where browsers start no workers: run the search worker in a hidden frame.
// Material for MkDocs recognizes the name IFrameWorker.
if (location.protocol === "file:") {
  window.IFrameWorker = window.Worker = class extends EventTarget {
    constructor(url) {
      super();
      const frame = document.createElement("iframe");
      frame.hidden = true;
      document.body.append(frame);
      const inner = frame.contentWindow;
      inner.deliver = (data) => this.dispatchEvent(new MessageEvent("message", { data }));
      this.started = new Promise((resolve) => (inner.started = () => resolve(inner)));
      inner.document.write("<script>postMessage = deliver</script>");
      inner.document.write(`<script src="${url}" onload="started()"></script>`);
      inner.document.close();
    }

    postMessage(data) {
      this.started.then((inner) => inner.dispatchEvent(new MessageEvent("message", { data })));
    }
  };
}
