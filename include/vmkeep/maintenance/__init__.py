"""What keeps a repository in shape while backups go on: functions over :class:`vmkeep.repository.Repository`."""
