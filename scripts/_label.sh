# Sourced by monai_label.sh and test.sh after _python.sh: makes the environment that MONAI Label runs in, once.
# MONAI Label 0.8.5 needs pydicom 2, this package's own environment has pydicom 3: hence an environment of its own.
# LABEL_VENV_DIR (default .venv-label) and PYTHON (3.10 to 3.12) may be set by the caller. Afterwards $LABEL_PY is its Python.
LABEL_VENV_DIR="${LABEL_VENV_DIR:-.venv-label}"

label_fingerprint() {
  "$LABEL_PY" -c 'import hashlib, sys; print(hashlib.sha256(open(sys.argv[1], "rb").read()).hexdigest())' scripts/_label.sh
}

install_label() {
  local PY="" PYTHON_BELOW=13 PYTHON="$ASKED_PYTHON" stamp="$LABEL_VENV_DIR/.installed"
  make_venv "$LABEL_VENV_DIR"
  LABEL_PY="$(python_of "$LABEL_VENV_DIR")"
  PY="$LABEL_PY"
  if [ "$(cat "$stamp" 2>/dev/null || true)" = "$(label_fingerprint)" ]; then
    step "$LABEL_VENV_DIR is up to date"
    return
  fi
  # numpy first: numpymaxflow, which MONAI Label needs, knows no numpy 2. What follows has to work with that one.
  # --no-compile: Python compiles what is imported, which is a small part of it
  install "torch and torchvision for MONAI Label" --no-compile torch torchvision "numpy<2" "setuptools>=77" wheel
  SAM2_BUILD_CUDA=0 install "sam2 for MONAI Label" --no-build-isolation sam2==1.1.0
  install "MONAI Label and what the bundles need" --no-compile monailabel==0.8.5 "monai>=1.6.1,<1.7" "numpy<2" \
    "pydicom>=2.4.5,<3" "pynetdicom<3" "dicomweb-client<0.60" "av>=14" "filelock>=3.12" "imagecodecs>=2024.9.22" \
    "opencv-python-headless>=4.9" "pyjpegls>=1.4" "pylibjpeg-rle>=2.0" \
    "safetensors>=0.4.3" "segment-anything==1.0" "timm>=1.0.20" "tqdm>=4.66"
  # The web store looks for dcmqi's programs and would download them; dcmqi has wheels for some computers only.
  "$PY" -m pip install --disable-pip-version-check -q dcmqi >/dev/null 2>&1 || true
  "$PY" -W ignore -c 'import torchvision, monailabel.app' >/dev/null 2>&1 ||
    fail "the installation in $LABEL_VENV_DIR does not import; delete that folder and run this again."
  label_fingerprint >"$stamp.part" && mv "$stamp.part" "$stamp"
}
