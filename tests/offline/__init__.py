"""The offline model: prompts, requests, replies, bytes and the server."""
