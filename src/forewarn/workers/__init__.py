"""The one worker mechanism: tasks done by processes that each build their own models, sandboxes or whatever they need.

It knows nothing of what a task is. Not here: the sandboxes in which submissions run (``forewarn.sandbox``).
"""

from forewarn.workers.parent import Done, Workers
from forewarn.workers.tasks import Failed, TaskQueue, check_done
from forewarn.workers.worker import ENDED, Room

__all__ = ["ENDED", "Done", "Failed", "Room", "TaskQueue", "Workers", "check_done"]
