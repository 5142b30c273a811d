# An image for GPU clusters: docker build -t designspace .   See docs/container.md.
# Any image with Python 3.11 to 3.13 and PyTorch 2.6 or later works: --build-arg BASE=…
ARG BASE=pytorch/pytorch:2.6.0-cuda12.4-cudnn9-runtime
FROM ${BASE}

WORKDIR /opt/designspace
COPY pyproject.toml README.md LICENSE ./
COPY designspace designspace
COPY sweeps sweeps
COPY analysis analysis
COPY conf conf

# The constraint keeps the PyTorch build of the base image.
RUN python -c "import torch; print('torch==' + torch.__version__)" > /tmp/torch.txt \
    && python -m pip install --no-cache-dir --constraint /tmp/torch.txt '.[slurm,watch,onnx]' \
    && rm -rf /opt/designspace

WORKDIR /work
ENTRYPOINT ["designspace"]
