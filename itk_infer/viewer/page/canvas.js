"use strict";
// All that this page asks of NiiVue 0.69; another version of it changes this file only.

// eslint-disable-next-line no-unused-vars
class VolumeCanvas {
  constructor(onPlace) {
    this.nv = new niivue.Niivue({
      backColor: [0, 0, 0, 1],
      crosshairColor: [1, 1, 1, 0.5],
      crosshairWidth: 0.3,
      crosshairWidthUnit: "mm",
      isRadiologicalConvention: true, // the patient's right is on the left
      sagittalNoseLeft: true,
      isNearestInterpolation: false,
      isColorbar: false,
      dragAndDropEnabled: false,
      multiplanarShowRender: 0,
      loadingText: "",
      logLevel: "error",
      clipPlaneHotKey: "",
      viewModeHotKey: "",
      cycleClipPlaneHotKey: "",
    });
    this.nv.onLocationChange = (place) => onPlace([...place.mm].slice(0, 3), place.values.map((item) => item.value));
    this.parts = [];
  }

  async attach(canvas) {
    await this.nv.attachToCanvas(canvas);
    this.nv.setSliceType(this.nv.sliceTypeMultiplanar);
  }

  // Shows volumes, the first one below; parts: {name, url, file}, where file is a name that ends as the format does.
  async show(parts) {
    this.parts = [];
    await this.nv.loadVolumes(parts.map(({ name, url, file }) => ({
      url,
      name: file || `${name}.nii`,
      colormap: name === "uncertainty" ? "inferno" : "gray",
      opacity: name === "uncertainty" ? 0 : 1,
      trustCalMinMax: true,
    })));
    this.parts = parts.map((part) => part.name);
  }

  // Colours by value; labels: [{value, rgb}], hidden: a set of values.
  color(labels, hidden) {
    const at = this.parts.indexOf("labels");
    if (at < 0) return;
    this.nv.volumes[at].hdr.intent_code = 1002; // of labels; without it, colours are interpolated
    const all = [{ value: 0, rgb: [0, 0, 0] }, ...labels.filter((label) => label.value > 0)];
    this.nv.volumes[at].setColormapLabel({
      R: all.map((label) => label.rgb[0]),
      G: all.map((label) => label.rgb[1]),
      B: all.map((label) => label.rgb[2]),
      A: all.map((label) => (label.value === 0 || hidden.has(label.value) ? 0 : 255)),
      I: all.map((label) => label.value),
      labels: all.map(() => ""),
    });
    this.nv.updateGLVolume();
  }

  setOpacity(part, opacity) {
    const at = this.parts.indexOf(part);
    if (at >= 0) this.nv.setOpacity(at, opacity);
  }

  setSolid(on) {
    this.nv.opts.multiplanarShowRender = on ? 1 : 0;
    this.nv.drawScene();
  }

  // To the labelled voxel that is nearest to the middle of all of them.
  moveToLabels() {
    const { hdr, img } = this.nv.volumes[this.parts.indexOf("labels")];
    const [nx, ny] = [hdr.dims[1], hdr.dims[2]];
    const voxel = (at) => [at % nx, Math.floor(at / nx) % ny, Math.floor(at / (nx * ny))];
    const sums = [0, 0, 0];
    let count = 0;
    for (let at = 0; at < img.length; at += 1) {
      if (!img[at]) continue;
      voxel(at).forEach((index, axis) => { sums[axis] += index; });
      count += 1;
    }
    let nearest = null;
    for (let at = 0, least = Infinity; at < img.length; at += 1) {
      if (!img[at]) continue;
      const away = voxel(at).reduce((sum, index, axis) => sum + (index - sums[axis] / count) ** 2, 0);
      if (away < least) [least, nearest] = [away, voxel(at)];
    }
    if (nearest) this.moveTo(hdr.affine.slice(0, 3).map((row) => nearest.reduce((sum, index, axis) => sum + row[axis] * index, row[3])));
  }

  moveTo(xyz) {
    this.nv.scene.crosshairPos = this.nv.mm2frac(xyz);
    this.nv.createOnLocationChange();
    this.nv.drawScene();
  }
}
