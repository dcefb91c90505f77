"""LangExtract, its OpenAI provider: JSON under a schema, and its own alignment."""

from __future__ import annotations

import warnings

import langextract as lx
from seam import Job, Name, answer, read_job

DESCRIPTION = "{task}\nThe classes are:\n{labels}\nUse exact text for extractions, in order of appearance."


def finder(job: Job):
    labels = "\n".join(f"{label}: {meaning}" for label, meaning in job.labels.items())
    examples = [
        lx.data.ExampleData(
            text=example["text"],
            extractions=[
                lx.data.Extraction(extraction_class=e["type"], extraction_text=e["text"])
                for e in example["entities"]
            ],
        )
        for example in job.examples
    ]
    config = lx.factory.ModelConfig(
        model_id="model",
        provider="OpenAILanguageModel",
        provider_kwargs={
            "api_key": "none",
            "base_url": job.address,
            "temperature": 0.0,
            "max_output_tokens": job.max_tokens,
        },
    )

    def find(text: str) -> list[Name]:
        document = lx.extract(
            text_or_documents=text,
            prompt_description=DESCRIPTION.format(task=job.task, labels=labels),
            examples=examples,
            config=config,
            max_char_buffer=10_000,  # a sentence is not cut
            max_workers=1,
            batch_length=1,
            resolver_params={"suppress_parse_errors": False},
            prompt_validation_level=lx.prompt_validation.PromptValidationLevel.OFF,
            show_progress=False,
        )
        found = []
        for extraction in document.extractions or []:
            place = extraction.char_interval
            start, end = (None, None) if place is None else (place.start_pos, place.end_pos)
            found.append(Name(str(extraction.extraction_text), extraction.extraction_class, start, end))
        return found

    return find


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    job = read_job()
    answer(job, finder(job))
