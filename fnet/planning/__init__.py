"""What a run takes on devices that are here or not, before it runs."""

from .plan import plan as plan
from .report import Plan as Plan
