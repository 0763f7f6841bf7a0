# Sourced by what measures the command: builds it, unless $OCITAR is another binary.
if [ -z "${OCITAR:-}" ]; then
  cargo build --release --quiet --locked
  OCITAR=$(realpath "${CARGO_TARGET_DIR:-target}/release/ocitar")
fi
export OCITAR
