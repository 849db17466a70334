"""What text and images cost a target model: profiles, token counts and the price of images."""

from optical_memory.budget.catalog import AssumedProfileWarning, get_profile, load_profile, models, profiles
from optical_memory.budget.detail import detail_for, with_detail
from optical_memory.budget.images import image_tokens
from optical_memory.budget.profile import Price, Profile
from optical_memory.budget.tokens import count_message, count_tokens

__all__ = [
    "AssumedProfileWarning",
    "Price",
    "Profile",
    "count_message",
    "count_tokens",
    "detail_for",
    "get_profile",
    "image_tokens",
    "load_profile",
    "models",
    "profiles",
    "with_detail",
]
