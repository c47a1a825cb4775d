"""What prompting an LLM is made of: prompt files, an endpoint, a store of answers, scoring."""
