import constrained_ner

sentence = constrained_ner.annotate("Ketoconazole raises the levels of midazolam and other benzodiazepines.")
for m in sentence.mentions:
    print(m.start, m.end, m.text, m.type, round(m.confidence, 3))
