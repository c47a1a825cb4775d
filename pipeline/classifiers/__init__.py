"""One file a family; each with `fit(tweets, labels, params) -> model` and `predict(model, tweets) -> scores`."""
