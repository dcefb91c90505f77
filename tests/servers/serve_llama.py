"""Run llama.cpp's own server, as the package xllamacpp has it, until it is killed.

    python serve_llama.py MODEL.gguf PORT [--parallel 2] [--context 2048] [--lora A.gguf] [--template FILE]

Needs nothing but xllamacpp, so that any environment can run it.
"""

from __future__ import annotations

import argparse
import signal

import xllamacpp


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("model")
    parser.add_argument("port", type=int)
    parser.add_argument("--parallel", type=int, default=2)
    parser.add_argument("--context", type=int, default=2048, help="tokens, for each request")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--extra-buffers", action="store_true", help="as llama-server has it by default")
    parser.add_argument("--lora")
    parser.add_argument("--template", help="file with a chat template to use instead of the model's")
    arguments = parser.parse_args()

    params = xllamacpp.CommonParams()
    params.model.path = arguments.model
    params.hostnames = ["127.0.0.1"]
    params.port = arguments.port
    params.n_parallel = arguments.parallel
    params.n_ctx = arguments.parallel * arguments.context
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = arguments.threads
    params.cache_ram_mib = 0
    params.no_extra_bufts = not arguments.extra_buffers  # llama.cpp's AMX kernels are wrong for some models
    params.endpoint_metrics = True
    params.warmup = False
    if arguments.lora:
        params.lora_adapters = [xllamacpp.CommonAdapterLoraInfo(arguments.lora, 1.0)]
    if arguments.template:
        with open(arguments.template, encoding="utf-8") as file:
            params.chat_template = file.read()
    server = xllamacpp.Server(params)
    print(server.listening_address, flush=True)
    signal.pause()


if __name__ == "__main__":
    main()
