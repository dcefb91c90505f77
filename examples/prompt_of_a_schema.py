from constrained_ner import Schema
from constrained_ner.constraint.markup import Markup
from constrained_ner.prompting.messages import Prompts
from constrained_ner.prompting.wording import PromptFile

markup = Markup(Schema.load("examples/adverse_events.json"))
prompts = Prompts(PromptFile.built_in("guide"), markup)
for message in prompts.prepare_messages("Bleeding after warfarin."):
    print(f"[{message.role}]\n{message.content}")
