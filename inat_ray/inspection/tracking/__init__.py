"""The run log, told to experiment trackers: an observer, and an adapter for each tracker."""
