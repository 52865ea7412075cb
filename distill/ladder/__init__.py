"""Labelled training sets from pristine videos: processed as platforms do, labelled by VMAF."""
