"""The servers that roomcast is measured against, where they are programs of ours."""
